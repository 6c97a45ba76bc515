#include "sojourn/flow/run_journal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/flow/job.hpp"

namespace sojourn::flow {

namespace {

constexpr std::size_t part_bytes =
    32 * limits::kibibyte;                    // of an output within one event, even if each byte is escaped
constexpr std::size_t read_at_once = 1'000;   // events
constexpr std::size_t most_waiting = 10'000;  // events; past them a call waits until its own is durable

std::string hash_of(std::string_view text) {
  return to_hex(sha256(text));
}

// What every event says of its call, without the brace at its end: written by hand, for a journalled flow says it at
// each call.
std::string said_of(CallKey key) {
  std::string data = R"({"key":")";
  for (int shift = 60; shift >= 0; shift -= 4) data += "0123456789abcdef"[(key >> shift) & 15];
  data += '"';
  return data;
}

std::string said_of(CallKey key, const NodeType& node, const std::string& input) {
  std::string data = said_of(key);
  data += R"(,"node":)";
  append_json_string(data, node.name);
  data += R"(,"input":")";
  data += hash_of(input);
  data += '"';
  return data;
}

void append_member(std::string& data, std::string_view name, std::string_view text) {
  data += ",\"";
  data += name;
  data += "\":";
  append_json_string(data, text);
}

void append_member(std::string& data, std::string_view name, std::uint64_t number) {
  const fmt::format_int digits(number);
  data += ",\"";
  data += name;
  data += "\":";
  data.append(digits.data(), digits.size());
}

std::string string_at(const JsonObject& object, std::string_view key) {
  const Json* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

CallKey key_below(CallKey caller, std::uint64_t place) {
  std::uint64_t x = caller ^ ((place + 1) * 0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::shared_ptr<RunJournal> RunJournal::begin(Strategy& strategy, store::Store& store, Clock& clock) {
  std::shared_ptr<RunJournal> journal(new RunJournal(strategy, clock));
  strategy.run(run_on(journal->home_, open_new(journal, store)));
  return journal;
}

std::shared_ptr<RunJournal> RunJournal::resume(Strategy& strategy, store::Store& store, Clock& clock,
                                               std::string id) {
  std::shared_ptr<RunJournal> journal(new RunJournal(strategy, clock));
  strategy.run(run_on(journal->home_, open_old(journal, store, std::move(id))));
  return journal;
}

Async<void> RunJournal::open_new(std::shared_ptr<RunJournal> self, store::Store& store) {
  session::Beginning beginning{.record = {.labels = R"({"kind":"flow"})", .owner = "flow"},
                               .created = {.type = "session.created", .actor = "flow", .data = R"({"kind":"flow"})"}};
  self->kept_ = co_await session::KeptSession::create(store, self->clock_, self->random_, std::move(beginning));
  self->id_ = self->kept_->id();
}

Async<void> RunJournal::open_old(std::shared_ptr<RunJournal> self, store::Store& store, std::string id) {
  const std::optional<store::Snapshot> stored = co_await store.load(id);
  if (!stored) throw Error(ErrorCode::session_not_found, "session not found: " + to_valid_utf8(id));
  if (stored->record.labels != R"({"kind":"flow"})") {
    throw Error(ErrorCode::invalid_request, fmt::format("session {} is no flow's", id));
  }
  if (stored->record.head.status != store::SessionStatus::active) {
    throw Error(ErrorCode::session_ended, "session ended: " + id);
  }
  self->kept_ = std::make_unique<session::KeptSession>(store, self->clock_, co_await store.adopt(id, "flow"));
  self->id_ = id;
  for (std::uint64_t next = 1;;) {
    const std::vector<store::Event> events = co_await store.events(id, next, read_at_once);
    if (events.empty()) break;
    for (const store::Event& event : events) self->learn(parse_json_object(event.body));
    next = events.back().seq + 1;
  }
}

void RunJournal::learn(const JsonObject& body) {
  const std::string type = string_at(body, "type");
  if (!type.starts_with("flow.")) return;
  const JsonObject& data = body.at("data").as_object();
  Known& known = known_[std::stoull(string_at(data, "key"), nullptr, 16)];
  if (type == "flow.part") {
    // Those of an attempt that a crash cut short come to nothing.
    if (data.at("part") == Json(0)) known.output.clear();
    known.output += string_at(data, "text");
    return;
  }
  known.node = string_at(data, "node");
  known.input = string_at(data, "input");
  known.is_over = type != "flow.call";
  if (type == "flow.completed") {
    if (data.at("parts") == Json(0)) known.output.clear();
    known.output += string_at(data, "text");
  } else if (type == "flow.failed") {
    known.failure = Failure{.type = string_at(data, "type"), .message = string_at(data, "message")};
  }
}

Async<Text> RunJournal::begin_call(Executor lane, CallKey key, const NodeType& node, const std::string& input) {
  const auto found = known_.find(key);
  if (found != known_.end() && !found->second.node.empty()) {
    const Known& known = found->second;
    const bool is_same_node = known.node == node.name;
    if (!is_same_node || known.input != hash_of(input)) {
      throw Error(
          ErrorCode::conflict,
          fmt::format("flow {} had called node \"{}\" where it now calls \"{}\"{}: it can only be resumed by the "
                      "calls that it was begun with",
                      id_, known.node, node.name, is_same_node ? " with another input" : ""),
          {{"journal", id_}});
    }
    if (known.failure) {
      throw Error(ErrorCode::app_error, fmt::format("node \"{}\" had failed: {}", node.name, known.failure->message),
                  {{"node", node.name}, {"type", known.failure->type}, {"journal", id_}});
    }
    if (known.is_over) co_return std::make_shared<const std::string>(known.output);
    if (!node.replay_safe) {
      throw Error(ErrorCode::uncertain,
                  fmt::format("node \"{}\" of flow {} had begun when the process ended, and nobody knows what it did",
                              node.name, id_),
                  {{"node", node.name}, {"journal", id_}});
    }
  }
  // That a replay-safe node has begun is of no consequence.
  if (node.replay_safe) co_return nullptr;
  const auto told = std::make_shared<Crossing>(std::move(lane), 1);
  say("flow.call", said_of(key, node, input) + "}", told);
  co_await wait_for(told);
  co_return nullptr;
}

Async<void> RunJournal::complete_call(Executor lane, CallKey key, const NodeType& node, const std::string& input,
                                      const std::string& output) {
  std::string_view rest = output;
  std::uint64_t parts = 0;
  // A part must be UTF-8 itself, so it ends before a character's first byte.
  while (rest.size() > part_bytes) {
    std::size_t end = part_bytes;
    while ((static_cast<unsigned char>(rest[end]) & 0xc0) == 0x80) --end;
    std::string part = said_of(key);
    append_member(part, "part", parts++);
    append_member(part, "text", rest.substr(0, end));
    say("flow.part", std::move(part) + "}", nullptr);
    rest.remove_prefix(end);
  }
  const bool waits = !node.replay_safe || is_full();
  const auto told = waits ? std::make_shared<Crossing>(std::move(lane), 1) : nullptr;
  std::string data = said_of(key, node, input);
  append_member(data, "parts", parts);
  append_member(data, "text", rest);
  say("flow.completed", std::move(data) + "}", told);
  if (told) co_await wait_for(told);
}

void RunJournal::fail_call(CallKey key, const NodeType& node, const std::string& input, const Failure& failure) {
  const std::string message = to_valid_utf8(std::string_view(failure.message).substr(0, part_bytes));
  std::string data = said_of(key, node, input);
  append_member(data, "type", failure.type);
  append_member(data, "message", message);
  say("flow.failed", std::move(data) + "}", nullptr);
}

bool RunJournal::is_full() {
  const std::scoped_lock lock(mutex_);
  return waiting_.size() >= most_waiting;
}

void RunJournal::say(std::string type, std::string data, std::shared_ptr<Crossing> told) {
  session::NewEvent event{.type = std::move(type), .actor = "flow", .data = std::move(data), .time = clock_.now()};
  {
    const std::scoped_lock lock(mutex_);
    if (!broken_) waiting_.push_back(std::move(event));
    if (told) told_.push_back(std::move(told));
    if (std::exchange(writing_, true)) return;
  }
  // A job of its own, so that nobody's cancellation ends it.
  Job::create(home_, nullptr)->start(write(shared_from_this()), [](const std::exception_ptr&) {});
}

// Commits what waits, all at once, until nothing does.
Async<void> RunJournal::write(std::shared_ptr<RunJournal> self) {
  while (true) {
    session::Step step;
    std::vector<std::shared_ptr<Crossing>> told;
    std::exception_ptr error;
    {
      const std::scoped_lock lock(self->mutex_);
      if (self->waiting_.empty() && self->told_.empty()) {
        self->writing_ = false;
        co_return;
      }
      error = self->broken_;
      step.events.assign(std::make_move_iterator(self->waiting_.begin()),
                         std::make_move_iterator(self->waiting_.end()));
      self->waiting_.clear();
      told.swap(self->told_);
    }
    if (!error && !step.events.empty()) {
      try {
        co_await self->kept_->commit(std::move(step));
      } catch (...) {
        error = std::current_exception();
      }
    }
    if (error) {
      const std::scoped_lock lock(self->mutex_);
      self->broken_ = error;
      self->waiting_.clear();
    }
    for (const auto& waiter : told) waiter->arrive(error);
  }
}

Async<void> RunJournal::wait_for(std::shared_ptr<Crossing> told) {
  if (!co_await told->wait()) throw Error(ErrorCode::cancelled, "the run was stopped");
  told->rethrow();
}

Async<void> RunJournal::flush(Executor lane) {
  const auto told = std::make_shared<Crossing>(std::move(lane), 1);
  bool idle = false;
  std::exception_ptr broken;
  {
    const std::scoped_lock lock(mutex_);
    idle = !writing_;
    broken = broken_;
    if (!idle) told_.push_back(told);
  }
  if (!idle) co_await wait_for(told);
  if (idle && broken) std::rethrow_exception(broken);
}

void RunJournal::end() {
  strategy_.run(run_on(home_, finish(shared_from_this())));
}

Async<void> RunJournal::finish(std::shared_ptr<RunJournal> self) {
  co_await self->flush(self->home_);
  session::Step step;
  step.events.push_back({.type = "session.ended", .actor = "flow", .data = R"({"reason":"ended"})"});
  step.change = [now = self->clock_.now()](store::SessionHead& head) {
    head.status = store::SessionStatus::ended;
    head.ended_at = now;
    head.end_reason = "ended";
  };
  co_await self->kept_->commit(std::move(step));
}

}  // namespace sojourn::flow
