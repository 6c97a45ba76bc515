// Journal verification: whatever is altered in what is stored, it does not crash, and takes nothing for whole but
// what was written.

#include "sojourn/store/verify.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "expect.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/store/forwarding_store.hpp"
#include "sojourn/store/memory_store.hpp"

namespace {

using namespace sojourn;
using namespace sojourn::store;

const std::string id = "sess_1";

// What verification reads of a session: at once, or in parts.
class OneSession final : public ForwardingStore {
 public:
  OneSession(const FullSession& stored, bool at_once)
      : ForwardingStore(nothing_), stored_(stored), at_once_(at_once) {}

  Async<std::optional<FullSession>> load_all(std::string, std::size_t) override {
    FullSession all = at_once_ ? stored_ : FullSession{.snapshot = stored_.snapshot};
    all.whole = at_once_;
    co_return all;
  }

  Async<std::optional<Snapshot>> load(std::string) override { co_return stored_.snapshot; }
  Async<std::optional<TaskRecord>> task(std::string task_id) override {
    const auto place = std::ranges::find(stored_.tasks, task_id, &TaskRecord::id);
    if (place == stored_.tasks.end()) co_return std::nullopt;
    co_return *place;
  }
  Async<std::vector<TaskRecord>> tasks(std::string, std::uint64_t from, std::size_t limit) override {
    co_return page(stored_.tasks, from, limit);
  }
  Async<std::vector<Event>> events(std::string, std::uint64_t from, std::size_t limit) override {
    co_return page(stored_.events, from, limit);
  }

 private:
  template <class T>
  static std::vector<T> page(const std::vector<T>& all, std::uint64_t from, std::size_t limit) {
    std::vector<T> found;
    for (const T& one : all) {
      if (one.seq >= from && found.size() < limit) found.push_back(one);
    }
    return found;
  }

  MemoryStore nothing_;  // what verification does not read
  const FullSession& stored_;
  const bool at_once_;
};

std::string hash_of(std::string_view text) {
  return '"' + to_hex(sha256(text)) + '"';
}

FullSession write_history() {
  FullSession stored;
  SessionRecord& record = stored.snapshot.record;
  record.id = id;
  record.head.chain.hash = chain_start(id);
  const auto append = [&](const std::string& type, const std::string& data) {
    ChainHead& head = record.head.chain;
    Event event{.seq = head.seq + 1, .body = {}, .hash = {}};
    event.body = "{\"seq\":" + std::to_string(event.seq) + ",\"type\":\"" + type + "\",\"data\":" + data + "}";
    event.hash = chain_hash(head.hash, event.body);
    head = {event.seq, event.hash};
    stored.events.push_back(std::move(event));
  };
  stored.snapshot.state = {{"a", "3"}, {"c", "[1,2]"}};
  for (const std::uint64_t seq : {1, 2}) {
    TaskRecord task;
    task.id = "task_" + std::to_string(seq);
    task.session_id = id;
    task.seq = seq;
    task.status = TaskStatus::completed;
    task.output = seq == 1 ? "42" : R"({"x":null})";
    stored.tasks.push_back(std::move(task));
  }
  append("call.x", "{}");
  append("call.x", R"({"state":{"a":)" + hash_of("1") + R"(,"b":)" + hash_of("2") + "}}");
  append("call.completed", R"({"task":"task_1","output":)" + hash_of("42") + "}");
  append("call.completed",
         R"({"task":"task_2","output":)" + hash_of(R"({"x":null})") + R"(,"state":{"c":)" + hash_of("[1,2]") + "}}");
  append("call.x", R"({"state":{"a":)" + hash_of("3") + R"(,"b":null}})");
  append("call.x", R"({"message":"hello"})");
  return stored;
}

// Whether `altered` is as it was written, in all that the journal speaks of.
bool is_whole(const FullSession& altered, const FullSession& written) {
  return altered.events == written.events && altered.tasks == written.tasks &&
         altered.snapshot.state == written.snapshot.state &&
         altered.snapshot.record.head.chain == written.snapshot.record.head.chain;
}

void alter_byte(std::string& text, std::uint8_t where, std::uint8_t value) {
  if (!text.empty()) text[where % text.size()] = static_cast<char>(text[where % text.size()] ^ value);
}

// Does one thing to what is stored: `what` says which, to the event, task or key `which`.
void alter(FullSession& stored, std::uint8_t what, std::uint8_t which, std::uint8_t where, std::uint8_t value) {
  ChainHead& head = stored.snapshot.record.head.chain;
  if (stored.events.empty() || stored.tasks.empty()) return;
  const auto event = stored.events.begin() + which % std::ssize(stored.events);
  const auto task = stored.tasks.begin() + which % std::ssize(stored.tasks);
  const std::string key(1, static_cast<char>('a' + which % 4));
  switch (what % 14) {
    case 0:
      return alter_byte(event->body, where, value);
    case 1:
      event->hash[where % 32] ^= value;
      return;
    case 2:
      event->seq = value == 255 ? INT64_MAX : event->seq + value;
      return;
    case 3:
      stored.events.erase(event);
      return;
    case 4:
      stored.events.push_back({.seq = event->seq + value, .body = event->body, .hash = event->hash});
      return;
    case 5:
      event->body.insert(where % (event->body.size() + 1), 1, static_cast<char>(value));
      return;
    case 6:
      event->body.resize(where % (event->body.size() + 1));
      return;
    case 7:
      head.hash[where % 32] ^= value;
      return;
    case 8:
      head.seq = value;
      return;
    case 9:
      stored.snapshot.state.erase(key);
      return;
    case 10:
      stored.snapshot.state[key] = std::string(1, static_cast<char>(value));
      return;
    case 11:
      return alter_byte(task->output, where, value);
    case 12:
      task->status = static_cast<TaskStatus>(value % 13);
      return;
    default:
      stored.tasks.erase(task);
      return;
  }
}

// As a store keeps them: by number, each once.
void put_in_order(std::vector<Event>& events) {
  std::map<std::uint64_t, Event> ordered;
  for (Event& event : events) ordered.emplace(event.seq, std::move(event));
  events.clear();
  for (auto& [seq, event] : ordered) events.push_back(std::move(event));
}

// Makes the chain fit again, as one does who can write the whole database.
void seal(FullSession& stored) {
  Hash previous = chain_start(id);
  for (Event& event : stored.events) previous = event.hash = chain_hash(previous, event.body);
  stored.snapshot.record.head.chain.hash = previous;
}

Async<void> keep_report(Store& store, VerifyReport& report) {
  report = co_await verify(store, id);
}

VerifyReport verified(Loop& loop, const FullSession& stored, bool at_once) {
  OneSession store(stored, at_once);
  VerifyReport report;
  loop.run(keep_report(store, report));
  return report;
}

}  // namespace

// The first byte says whether the chain is sealed again; four more each are one thing that is altered.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const FullSession written = write_history();
  static Loop loop;
  if (size == 0) return 0;
  FullSession stored = written;
  for (std::size_t at = 1; at + 4 <= size; at += 4) {
    alter(stored, data[at], data[at + 1], data[at + 2], data[at + 3]);
    put_in_order(stored.events);
  }
  const bool sealed = data[0] % 2 == 1;
  if (sealed) seal(stored);
  const VerifyReport report = verified(loop, stored, true);
  expect(report.ok() == verified(loop, stored, false).ok(), "it is the same read at once or in parts");
  if (is_whole(stored, written)) expect(report.ok(), "what was written is whole");
  if (!sealed && !is_whole(stored, written)) expect(!report.ok(), "what was altered is found");
  for (const Finding& finding : report.findings) {
    expect(!finding.message.empty() && !to_string(finding.kind).empty(), "a finding says what it found");
  }
  return 0;
}
