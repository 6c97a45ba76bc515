#include "sojourn/store/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parser.hpp>
#include <optional>
#include <unordered_map>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

// Bounds what is in memory at once, as an event has up to 256 KiB and a task's output up to 8 MiB. A session with
// less text is read in one go.
constexpr std::size_t bytes_at_once = limits::mebibyte;
constexpr std::size_t events_at_once = 256;
constexpr std::size_t sessions_at_once = 4;
constexpr std::size_t large_tasks_at_once = 8;
constexpr std::size_t small_tasks_at_once = 64;
constexpr std::size_t small_task_bytes = 64 * limits::kibibyte;

// A hash in hex digits as the newest event that names it recorded it; empty where the key was deleted.
struct Recorded {
  std::uint64_t seq = 0;
  std::string hash;
};

// Reads event bodies into memory that it uses again and again.
class BodyReader {
 public:
  BodyReader() : memory_(buffer_.data(), buffer_.size()), parser_({}, options()) {}

  // The body as an object, valid until the next call; null if it is none.
  const JsonObject* read(std::string_view body) {
    value_.reset();
    memory_.release();
    parser_.reset(&memory_);
    boost::json::error_code error;
    parser_.write(body.data(), body.size(), error);
    if (error) return nullptr;
    value_.emplace(parser_.release());
    return value_->if_object();
  }

 private:
  static boost::json::parse_options options() {
    boost::json::parse_options options;
    options.max_depth = limits::json_depth + 2;  // the caller's data stands two levels deep
    return options;
  }

  std::array<unsigned char, 16 * limits::kibibyte> buffer_;
  boost::json::monotonic_resource memory_;
  boost::json::parser parser_;
  std::optional<Json> value_;
};

class Verifier {
 public:
  explicit Verifier(const std::string& session_id) : previous_(chain_start(session_id)) {
    report_.session_id = session_id;
  }

  void check_event(const Event& event) {
    ++report_.events;
    const std::uint64_t expected = ++seq_;
    seq_ = event.seq;
    const JsonObject* body = reader_.read(event.body);
    const bool gap = event.seq != expected;
    const Hash computed = chain_hash(previous_, event.body);
    const bool fits = computed == event.hash || (other_ && chain_hash(*other_, event.body) == event.hash);
    if (gap) {
      add({Finding::Kind::missing, expected, "", "",
           fmt::format("event {} is missing: event {} follows event {}", expected, event.seq, expected - 1)});
    } else if (body == nullptr) {
      add({Finding::Kind::malformed, event.seq, "", "", fmt::format("event {} is no JSON object", event.seq)});
    } else if (!has_seq(*body, event.seq)) {
      add({Finding::Kind::misplaced, event.seq, "", "",
           fmt::format("event {} bears another number in its body", event.seq)});
    } else if (!fits) {
      add({Finding::Kind::altered, event.seq, "", "",
           fmt::format("event {} was altered: its hash is not that of its body after event {}", event.seq,
                       event.seq - 1)});
    }
    if (body != nullptr) record(event.seq, *body);
    // Either the body was altered and the next event builds on the stored hash, or that hash was, and it builds on
    // this one.
    other_ = fits || gap ? std::nullopt : std::optional(computed);
    previous_ = event.hash;
  }

  // After the last event that the row knows of.
  void check_head(const ChainHead& head) {
    if (seq_ < head.seq) {
      add({Finding::Kind::cut_off, seq_ + 1, "", "",
           fmt::format("the newest events are missing: the last one is {}, the session's row knows {}", seq_,
                       head.seq)});
    } else if (previous_ != head.hash && other_ != head.hash) {
      add({Finding::Kind::head, head.seq, "", "",
           fmt::format("the hash in the session's row is not that of its newest event {}", head.seq)});
    }
  }

  void check_state(const std::map<std::string, JsonText>& state) {
    for (const auto& [key, value] : state) {
      const auto place = state_.find(key);
      if (place == state_.end()) {
        add({Finding::Kind::state, 0, key, "", fmt::format("state '{}' has a value that no event recorded", key)});
      } else if (place->second.hash.empty()) {
        add({Finding::Kind::state, place->second.seq, key, "",
             fmt::format("state '{}' has a value, though event {} deleted it", key, place->second.seq)});
      } else if (place->second.hash != to_hex(sha256(value))) {
        add({Finding::Kind::state, place->second.seq, key, "",
             fmt::format("state '{}' is not what event {} recorded", key, place->second.seq)});
      }
    }
    for (const auto& [key, recorded] : state_) {
      if (recorded.hash.empty() || state.contains(key)) continue;
      add({Finding::Kind::state, recorded.seq, key, "",
           fmt::format("state '{}' is missing, though event {} recorded a value", key, recorded.seq)});
    }
  }

  // Holds one completed task against the events, and forgets what they recorded of it.
  void check_output(const std::string& task, const std::string& output_hash) {
    const auto place = outputs_.find(task);
    if (place == outputs_.end()) {
      add({Finding::Kind::output, 0, "", task, fmt::format("no event recorded the output of task '{}'", task)});
      return;
    }
    if (place->second.hash != output_hash) {
      add({Finding::Kind::output, place->second.seq, "", task,
           fmt::format("the output of task '{}' is not what event {} recorded", task, place->second.seq)});
    }
    outputs_.erase(place);
  }

  void add_missing_task(const std::string& task, std::uint64_t seq) {
    add({Finding::Kind::output, seq, "", task,
         fmt::format("task '{}' is missing or not completed, though event {} recorded its output", task, seq)});
  }

  void add_surplus(const Event& event) {
    add({Finding::Kind::added, event.seq, "", "",
         fmt::format("event {} was added: the session's row does not know it", event.seq)});
  }

  // Outputs that events recorded and check_output() was not asked for.
  const std::unordered_map<std::string, Recorded>& outputs() const { return outputs_; }

  VerifyReport take() { return std::move(report_); }

 private:
  static bool has_seq(const JsonObject& body, std::uint64_t expected) {
    const Json* seq = body.if_contains("seq");
    return seq != nullptr && seq->is_int64() && std::cmp_equal(seq->get_int64(), expected);
  }

  void record(std::uint64_t seq, const JsonObject& body) {
    const Json* value = body.if_contains("data");
    const JsonObject* data = value == nullptr ? nullptr : value->if_object();
    if (data == nullptr) return;
    const Json* output = data->if_contains("output");
    const Json* task = data->if_contains("task");
    if (output != nullptr && task != nullptr && task->is_string()) {
      note(outputs_[std::string(task->get_string())], seq, *output);
    }
    const Json* state = data->if_contains("state");
    if (state == nullptr || !state->is_object()) return;
    for (const auto& [key, hash] : state->get_object()) note(state_[std::string(key)], seq, hash);
  }

  static void note(Recorded& recorded, std::uint64_t seq, const Json& hash) {
    recorded.seq = seq;
    if (hash.is_string()) {
      recorded.hash.assign(hash.get_string().data(), hash.get_string().size());
    } else {
      recorded.hash.clear();
    }
  }

  void add(Finding finding) {
    if (report_.findings.size() < VerifyReport::most_findings) {
      report_.findings.push_back(std::move(finding));
    } else {
      ++report_.more_findings;
    }
  }

  VerifyReport report_;
  BodyReader reader_;
  std::uint64_t seq_ = 0;      // of the last event
  Hash previous_;              // as stored with it
  std::optional<Hash> other_;  // as it should have been, where that differs
  std::unordered_map<std::string, Recorded> state_;
  std::unordered_map<std::string, Recorded> outputs_;
};

// Id and output hash of each completed task.
Async<std::vector<std::pair<std::string, std::string>>> read_outputs(Store& store, std::string session_id) {
  std::vector<std::pair<std::string, std::string>> outputs;
  std::size_t at_once = large_tasks_at_once;
  for (std::uint64_t from = 0;;) {
    const std::vector<TaskRecord> tasks = co_await store.tasks(session_id, from, at_once);
    const std::size_t asked = at_once;
    at_once = small_tasks_at_once;
    for (const TaskRecord& task : tasks) {
      if (task.input.size() + task.output.size() > small_task_bytes) at_once = large_tasks_at_once;
      if (task.status == TaskStatus::completed) outputs.emplace_back(task.id, to_hex(sha256(task.output)));
    }
    if (tasks.size() < asked) co_return outputs;
    from = tasks.back().seq + 1;
  }
}

// Checks the events up to `newest`, in pages.
Async<void> walk_events(Store& store, Verifier& verifier, std::string session_id, std::uint64_t newest) {
  for (std::uint64_t from = 1; from <= newest;) {
    const std::vector<Event> events = co_await store.events(session_id, from, events_at_once);
    for (const Event& event : events) {
      if (event.seq > newest) co_return;
      verifier.check_event(event);
    }
    if (events.size() < events_at_once) co_return;
    from = events.back().seq + 1;
  }
}

// Outputs recorded for tasks that were not yet completed when the outputs were read.
Async<void> check_later_outputs(Store& store, Verifier& verifier) {
  const auto recorded = verifier.outputs();
  for (const auto& [id, output] : recorded) {
    const std::optional<TaskRecord> task = co_await store.task(id);
    if (task && task->status == TaskStatus::completed) {
      verifier.check_output(id, to_hex(sha256(task->output)));
    } else {
      verifier.add_missing_task(id, output.seq);
    }
  }
}

// Takes the next session that nobody has taken, until none is left.
Async<void> verify_next(Store& store, const std::vector<std::string>& ids, std::size_t& next,
                        std::vector<std::optional<VerifyReport>>& reports) {
  while (next < ids.size()) {
    const std::size_t number = next++;
    try {
      reports[number] = co_await verify(store, ids[number]);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::session_not_found) throw;
    }
  }
}

VerifyReport verify(const FullSession& session) {
  Verifier verifier(session.snapshot.record.id);
  const ChainHead& head = session.snapshot.record.head.chain;
  const auto surplus = std::ranges::find_if(session.events, [&](const Event& event) { return event.seq > head.seq; });
  std::for_each(session.events.begin(), surplus, [&](const Event& event) { verifier.check_event(event); });
  verifier.check_head(head);
  if (surplus != session.events.end()) verifier.add_surplus(*surplus);
  verifier.check_state(session.snapshot.state);
  for (const TaskRecord& task : session.tasks) {
    if (task.status == TaskStatus::completed) verifier.check_output(task.id, to_hex(sha256(task.output)));
  }
  for (const auto& [task, output] : verifier.outputs()) verifier.add_missing_task(task, output.seq);
  return verifier.take();
}

Async<VerifyReport> verify_in_parts(Store& store, std::string session_id) {
  Verifier verifier(session_id);
  // In this order, so that of a session that goes on meanwhile nothing is read that is newer than its events below.
  const auto outputs = co_await read_outputs(store, session_id);
  const std::optional<Snapshot> snapshot = co_await store.load(session_id);
  if (!snapshot) throw session_unknown(session_id);
  const ChainHead head = snapshot->record.head.chain;

  co_await walk_events(store, verifier, session_id, head.seq);
  verifier.check_head(head);
  const std::vector<Event> surplus = co_await store.events(session_id, head.seq + 1, 1);
  if (!surplus.empty()) {
    const std::optional<Snapshot> now = co_await store.load(session_id);
    if (now && now->record.head.chain.seq < surplus.front().seq) verifier.add_surplus(surplus.front());
  }
  verifier.check_state(snapshot->state);
  for (const auto& [task, hash] : outputs) verifier.check_output(task, hash);
  co_await check_later_outputs(store, verifier);
  co_return verifier.take();
}

}  // namespace

std::string_view to_string(Finding::Kind kind) {
  constexpr std::string_view words[] = {"altered", "malformed", "misplaced", "missing", "cut_off",
                                        "added",   "head",      "state",     "output"};
  return words[static_cast<std::size_t>(kind)];
}

Async<VerifyReport> verify(Store& store, std::string session_id) {
  const std::optional<FullSession> session = co_await store.load_all(session_id, bytes_at_once);
  if (!session) throw session_unknown(session_id);
  if (session->whole) co_return verify(*session);
  co_return co_await verify_in_parts(store, session_id);
}

Async<std::vector<VerifyReport>> verify(Store& store, std::vector<std::string> session_ids) {
  std::size_t next = 0;
  std::vector<std::optional<VerifyReport>> reports(session_ids.size());
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (std::size_t i = 0; i < sessions_at_once; ++i) group.spawn(verify_next(store, session_ids, next, reports));
  co_await group.join();
  std::vector<VerifyReport> found;
  for (std::optional<VerifyReport>& report : reports) {
    if (report) found.push_back(std::move(*report));
  }
  co_return found;
}

}  // namespace sojourn::store
