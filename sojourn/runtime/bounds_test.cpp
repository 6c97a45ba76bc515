#include <gmock/gmock.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

// Every bound of the runtime in docs/reference/limits.md, reached once, by its name there.
namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::TaskStatus;
using testing::HasSubstr;

std::string text_of_size(std::size_t bytes) {
  return std::string(bytes - 2, 'x');  // with its quotes
}

class BoundsTest : public RuntimeTest {
 public:
  // Ends sessions whose calls do not stop by themselves.
  Async<void> end(std::vector<std::string> sessions) {
    TaskGroup group(loop.executor());
    for (const std::string& id : sessions) group.spawn(runtime->end_session(id, "me"));
    co_await settle();
    co_await pass(2s);
    co_await group.join();
  }
};

Async<void> write(RuntimeTest& test, std::string session, Json value) {
  try {
    co_await test.runtime->change_state(std::move(session), {{"key", std::move(value)}}, "me");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::queue_full);
  }
}

Async<void> ask(RuntimeTest& test, std::string session, Json input) {
  co_await test.call(std::move(session), "wait", std::move(input));
}

TEST_F(BoundsTest, QueueLimitCountsWritesToTheStateToo) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    TaskGroup group(test.loop.executor());
    for (int i = 0; i < 5; ++i) group.spawn(write(test, id, i));
    co_await test.settle();
    EXPECT_EQ(group.size(), 5u);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->change_state(id, {{"key", Json(6)}}, "me")),
              ErrorCode::queue_full);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::queue_full);
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ((co_await test.runtime->stored(id)).state.at("key"), "4");
    EXPECT_EQ((co_await test.call(id, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, DefaultQueueBoundsWritesToASessionWithoutAnApp) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.runtime->create_session({})).record.id;
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    group.spawn(write(test, id, 0));  // that is being made
    co_await test.settle();
    for (std::size_t i = 1; i <= limits::default_queue; ++i) group.spawn(write(test, id, i));
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->session(id)).queued, limits::default_queue);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->change_state(id, {{"key", Json(6)}}, "me")),
              ErrorCode::queue_full);
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await group.join();
    EXPECT_EQ((co_await test.runtime->stored(id)).state.at("key"), std::to_string(limits::default_queue));
  });
}

TEST_F(BoundsTest, QueueBytesBoundsWhatWaitsForOneSession) {
  info.queue_limit = 100;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    const std::size_t part = limits::queue_bytes / 8;
    for (int i = 0; i < 8; ++i) co_await test.start(id, "wait", Json(text_of_size(part)));
    try {
      co_await test.start(id, "run", 1);
      ADD_FAILURE() << "was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::queue_full);
      EXPECT_EQ(error.details().at("queue_bytes"), limits::queue_bytes);
    }
    const std::string other = co_await test.new_session();  // has a queue of its own
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_FALSE((co_await test.start(id, "run", 1))->is_final());  // one of the eight runs now
    co_await dynamic_cast<BoundsTest&>(test).end({id});
    EXPECT_EQ((co_await test.call(other, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, AllQueuesBytesBoundsWhatWaitsForAnySession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::size_t part = limits::queue_bytes / 8;
    const std::size_t sessions = limits::all_queues_bytes / limits::queue_bytes * 2;
    TaskGroup group(test.loop.executor());
    const std::string last = (co_await test.start("new", "wait"))->task.session_id;
    std::vector<std::string> ids;
    ids.reserve(sessions);
    const Json input(text_of_size(part));
    for (std::size_t i = 0; i < sessions; ++i) {
      ids.push_back((co_await test.start("new", "wait"))->task.session_id);
      for (int k = 0; k < 4; ++k) group.spawn(ask(test, ids.back(), input));
      co_await test.settle();
    }
    try {
      co_await test.start(last, "run", 1);
      ADD_FAILURE() << "was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::queue_full);
      EXPECT_EQ(error.details().at("all_queues_bytes"), limits::all_queues_bytes);
    }
    ids.push_back(last);
    co_await dynamic_cast<BoundsTest&>(test).end(ids);
    co_await group.join();
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(ids.front(), "run")), ErrorCode::session_ended);
    EXPECT_EQ((co_await test.call(co_await test.new_session(), "run", input)).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, AnInputOfAnySizeMayWaitWhereNothingElseDoes) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    const auto waiting = co_await test.start(id, "run", Json(text_of_size(limits::json_bytes)));
    EXPECT_EQ(waiting->task.status, TaskStatus::queued);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(waiting);
    EXPECT_EQ(waiting->task.output.size(), limits::json_bytes);
  });
}

TEST_F(BoundsTest, JsonBytesAndJsonDepthBoundAnInputAndAnOutput) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const Json too_long(text_of_size(limits::json_bytes + 1));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run", too_long)), ErrorCode::too_large);
    test.script.act = [&](session::CallScope&) { return too_long; };
    EXPECT_THAT((co_await test.call(id, "act")).task.error, HasSubstr("too_large"));
    test.script.act = [&](session::CallScope&) {
      Json deep;
      for (std::size_t i = 0; i <= limits::json_depth; ++i) deep = JsonArray{deep};
      return deep;
    };
    EXPECT_THAT((co_await test.call(id, "act")).task.error, HasSubstr("not_serializable"));
    EXPECT_EQ((co_await test.call(id, "run", 1)).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, StateLimitsFailTheCallThatPassesThemAndChangeNothing) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.act = [](session::CallScope& scope) -> Json {
      for (std::size_t i = 0; i <= limits::state_keys; ++i) scope.session().state().set(std::to_string(i), 1);
      return nullptr;
    };
    EXPECT_THAT((co_await test.call(id, "act")).task.error, HasSubstr("too_large"));
    EXPECT_TRUE((co_await test.runtime->stored(id)).state.empty());
    const auto write = [&](std::string key, std::size_t bytes) {
      return test.runtime->change_state(id, {{std::move(key), Json(text_of_size(bytes))}}, "me");
    };
    EXPECT_EQ(co_await RuntimeTest::code_of(write("k", limits::state_value_bytes + 1)), ErrorCode::too_large);
    EXPECT_EQ(co_await RuntimeTest::code_of(write(std::string(limits::state_key_bytes + 1, 'k'), 9)),
              ErrorCode::invalid_request);
    co_await write("k", limits::state_value_bytes);
  });
}

TEST_F(BoundsTest, EventBytesAndEventsPerCommitBoundWhatACallRecords) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.act = [](session::CallScope& scope) -> Json {
      scope.record("a", {{"x", std::string(limits::event_bytes, 'x')}});
      return nullptr;
    };
    EXPECT_THAT((co_await test.call(id, "act")).task.error, HasSubstr("too_large"));
    std::size_t recorded = 0;
    test.script.act = [&](session::CallScope& scope) -> Json {
      for (recorded = 0;; ++recorded) scope.record("a", {});
    };
    EXPECT_THAT((co_await test.call(id, "act")).task.error, HasSubstr("too_large"));
    EXPECT_EQ(recorded, limits::events_per_commit);
    const std::string large(limits::event_bytes - 8, 'x');  // {"x":""}
    test.script.act = [&](session::CallScope& scope) -> Json {
      for (recorded = 0;; ++recorded) scope.record("a", {{"x", large}});
    };
    EXPECT_THAT((co_await test.call(id, "act")).task.error, HasSubstr("too_large"));
    EXPECT_EQ(recorded, limits::json_bytes / limits::event_bytes);
  });
}

TEST_F(BoundsTest, EventsPerCommitCutsLogLinesThatWait) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    for (std::size_t i = 0; i < limits::events_per_commit + 7; ++i) {
      test.script.events->log(LogLevel::info, "stdout", "line", {});
    }
    co_await test.call(id, "run");
    const std::vector<store::Event> events = co_await test.store.events(id, 1, 10'000);
    const auto cut = std::ranges::find_if(
        events, [](const store::Event& event) { return event.body.find("\"log.cut\"") != std::string::npos; });
    EXPECT_NE(cut, events.end());
    if (cut != events.end()) EXPECT_THAT(cut->body, HasSubstr(R"({"lines":7})"));
  });
}

TEST_F(BoundsTest, ContextBytesBoundsWhatASessionIsGiven) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const JsonObject large{{"x", std::string(limits::context_bytes, 'x')}};
    std::vector<RunRequest> requests(4, RunRequest{.app = "app", .session = "new"});
    requests[0].context = large;
    requests[1].setup = large;
    requests[2].labels = large;
    requests[3].metadata = large;
    for (const RunRequest& request : requests) {
      EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run(request)), ErrorCode::too_large);
    }
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
  });
}

TEST_F(BoundsTest, ErrorMessageAndDetailsBytesBoundWhatAnAppSaysThatFails) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.act = [](session::CallScope&) -> Json {
      throw Error(ErrorCode::app_error, std::string(limits::event_bytes, 'm'),
                  {{"d", std::string(limits::event_bytes / 2, 'd')}});
    };
    const JsonObject error = parse_json_object((co_await test.call(id, "act")).task.error);
    EXPECT_EQ(error.at("message").as_string().size(), limits::event_bytes / 16);
    EXPECT_EQ(to_text(error).find("ddd"), std::string::npos);
  });
}

TEST_F(BoundsTest, DefaultCallTimeoutEndsACallThatNobodyBounded) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "wait_for_cancel");
    co_await test.pass(limits::default_call_timeout - 1ms);
    EXPECT_EQ(call->task.status, TaskStatus::running);
    co_await test.pass(1ms);
    EXPECT_THAT(call->task.error, HasSubstr("call_timeout"));
  });
}

TEST_F(BoundsTest, DefaultSessionTimeoutEndsASessionThatNobodyBounded) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.pass(limits::default_session_timeout - 1us);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::active);
    co_await test.pass(1us);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::expired);
  });
}

TEST_F(BoundsTest, DefaultMaxSessionsBoundsAnApp) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    for (std::size_t i = 0; i < limits::default_max_sessions; ++i) {
      co_await test.runtime->create_session({.app = "app"});
    }
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->create_session({.app = "app"})),
              ErrorCode::too_many_sessions);
  });
}

TEST_F(BoundsTest, RestAfterTakesASessionThatNothingEndsOutOfMemory) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.runtime->create_session({})).record.id;
    co_await test.pass(30s - 1us);
    EXPECT_EQ(test.runtime->statistics().live_sessions, 1u);
    co_await test.pass(1us);
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    co_await test.runtime->change_state(id, {{"key", Json(1)}}, "me");
    EXPECT_EQ(test.runtime->statistics().live_sessions, 1u);
  });
}

}  // namespace

}  // namespace sojourn::runtime
