#pragma once

#include <gtest/gtest.h>

#include <boost/asio/this_coro.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/store/store.hpp"

// Words for tests of stores.
namespace sojourn::store {

inline const Time start_time = Time(Seconds(1'768'473'045));  // 2026-01-15 10:30:45

template <class T>
Async<void> keep_result(Async<T> work, std::optional<T>& result) {
  result.emplace(co_await std::move(work));
}

// The loop of all tests. It outlives every store, as stores ask of it.
inline Loop& test_loop() {
  static Loop loop;
  return loop;
}

inline void run(Async<void> work) {
  test_loop().run(std::move(work));
}

template <class T>
T run(Async<T> work) {
  std::optional<T> result;
  run(keep_result(std::move(work), result));
  return std::move(*result);
}

// The code of the Error that `work` must fail with.
template <class T>
ErrorCode refusal(Async<T> work) {
  try {
    run(std::move(work));
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was refused";
  return ErrorCode::internal_error;
}

inline void expect_same(const Snapshot& left, const Snapshot& right) {
  EXPECT_EQ(left.record, right.record);
  EXPECT_EQ(left.state, right.state);
  EXPECT_EQ(left.resources, right.resources);
  EXPECT_EQ(left.open_tasks, right.open_tasks);
  EXPECT_EQ(left.scheduled, right.scheduled);
}

// The event that follows `head`, which moves on to it.
inline Event link(ChainHead& head, std::string_view type, std::string_view data = "{}") {
  Event event;
  event.seq = head.seq + 1;
  event.body = "{\"seq\":" + std::to_string(event.seq) + ",\"time\":\"2026-01-15T10:30:45.000000Z\",\"type\":\"" +
               std::string(type) + "\",\"actor\":\"local\",\"data\":" + std::string(data) + "}";
  event.hash = chain_hash(head.hash, event.body);
  head = {event.seq, event.hash};
  return event;
}

// A session with its first event.
inline NewSession new_session(const std::string& id) {
  NewSession session;
  SessionRecord& record = session.record;
  record.id = id;
  record.app = "counter";
  record.app_version = "1";
  record.user = "user";
  record.created_at = start_time;
  record.owner = "server-1";
  record.head.updated_at = start_time;
  record.head.chain = {0, chain_start(id)};
  session.events.push_back(link(record.head.chain, "session.created"));
  return session;
}

inline TaskRecord new_task(const std::string& id, const std::string& session_id, std::uint64_t seq,
                           const std::string& key) {
  TaskRecord task;
  task.id = id;
  task.session_id = session_id;
  task.seq = seq;
  task.function = "run";
  task.idempotency_key = key;
  task.request_hash = sha256("run{}");
  task.status = TaskStatus::queued;
  task.input = "{}";
  task.created_at = start_time;
  task.updated_at = start_time;
  return task;
}

// What the owner of a session knows of it between commits.
struct Writing {
  explicit Writing(std::string session_id) : id(std::move(session_id)), head(new_session(id).record.head) {}

  // The commit that adds events of these types.
  Commit next(const std::vector<std::string>& types) const {
    Commit commit{.session_id = id, .epoch = epoch, .version = version, .head = head};
    for (const std::string& type : types) commit.events.push_back(link(commit.head.chain, type));
    commit.head.updated_at += Microseconds(1);
    return commit;
  }

  // A commit that changes something of every kind.
  Commit next_of_everything() const {
    Commit commit = next({"everything"});
    commit.head.stage = "running";
    commit.head.call_count += 1;
    commit.state = {{"changed", "true"}};
    commit.tasks = {new_task("task_of_" + id, id, 1, "key of everything")};
    commit.resources_added = {{id, "resource", "path", 1, start_time, R"({"path":"/x"})"}};
    commit.resources_released = {"nothing"};
    commit.steps = {{.number = 1, .name = "everything", .started_at = start_time, .started_seq = head.chain.seq + 1}};
    commit.head.step_count = 1;
    return commit;
  }

  std::uint64_t write(Store& store, Commit commit) {
    version = run(store.commit(commit));
    head = commit.head;
    return version;
  }

  std::string id;
  std::uint64_t epoch = 1;
  std::uint64_t version = 1;
  SessionHead head;
};

inline Writing write_new(Store& store, const std::string& id) {
  run(store.create(new_session(id)));
  return Writing(id);
}

}  // namespace sojourn::store
