#include "sojourn/session/entry.hpp"

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

namespace sojourn::runtime {

namespace {

// Appends one event of that type.
session::Entry entry(std::string type) {
  session::Entry entry;
  entry.write = [type = std::move(type)](session::Draft& draft) {
    draft.step.events.push_back({.type = type, .actor = "test", .time = draft.now});
  };
  return entry;
}

session::Entry expecting(std::uint64_t version, std::string type) {
  session::Entry expecting = entry(std::move(type));
  expecting.expected_version = version;
  return expecting;
}

Async<void> append_to(Runtime& runtime, std::string session, session::Entry entry, std::vector<ErrorCode>& refused) {
  try {
    co_await runtime.append(std::move(session), std::move(entry));
  } catch (const Error& error) {
    refused.push_back(error.code());
  }
}

}  // namespace

TEST_F(RuntimeTest, AppendsAnEntryWhileACallRuns) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const auto call = co_await test.start(id, "wait");
    const std::uint64_t before = (co_await test.runtime->session(id)).record.version;
    EXPECT_EQ(co_await test.runtime->append(id, entry("note")), before + 1);
    EXPECT_EQ((co_await test.event_types(id)).back(), "note");
    EXPECT_FALSE(store::is_final(call->task.status));
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    EXPECT_EQ((co_await test.event_types(id)).back(), "call.completed");
  });
}

TEST_F(RuntimeTest, MakesEntriesThatWaitTogetherOneCommit) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const store::SessionRecord before = (co_await test.runtime->session(id)).record;
    std::vector<ErrorCode> refused;
    TaskGroup writers(test.loop.executor());
    for (int i = 0; i < 64; ++i) writers.spawn(append_to(*test.runtime, id, entry("note"), refused));
    co_await writers.join();
    const store::SessionRecord after = (co_await test.runtime->session(id)).record;
    EXPECT_EQ(after.head.chain.seq, before.head.chain.seq + 64);
    EXPECT_LE(after.version, before.version + 2);
    EXPECT_TRUE(refused.empty());
  });
}

TEST_F(RuntimeTest, RefusesAnEntryThatThrowsAndKeepsTheOthersOfItsCommit) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    std::vector<ErrorCode> refused;
    session::Entry bad;
    bad.write = [](session::Draft&) { throw Error(ErrorCode::stage_not_allowed, "no"); };
    TaskGroup writers(test.loop.executor());
    writers.spawn(append_to(*test.runtime, id, entry("one"), refused));
    writers.spawn(append_to(*test.runtime, id, bad, refused));
    writers.spawn(append_to(*test.runtime, id, entry("two"), refused));
    co_await writers.join();
    EXPECT_EQ(refused, std::vector{ErrorCode::stage_not_allowed});
    const auto types = co_await test.event_types(id);
    EXPECT_EQ(std::vector(types.end() - 2, types.end()), (std::vector<std::string>{"one", "two"}));
  });
}

TEST_F(RuntimeTest, LetsOneOfManyWithTheSameExpectedVersionPass) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const std::uint64_t version = (co_await test.runtime->session(id)).record.version;
    std::vector<ErrorCode> refused;
    TaskGroup writers(test.loop.executor());
    writers.spawn(append_to(*test.runtime, id, entry("first"), refused));  // and so this alone changes the version
    for (int i = 0; i < 3; ++i) writers.spawn(append_to(*test.runtime, id, expecting(version, "late"), refused));
    co_await writers.join();
    EXPECT_EQ(refused, std::vector(3, ErrorCode::precondition_failed));
    refused.clear();
    const std::uint64_t next = (co_await test.runtime->session(id)).record.version;
    TaskGroup others(test.loop.executor());
    for (int i = 0; i < 3; ++i) others.spawn(append_to(*test.runtime, id, expecting(next, "in time"), refused));
    co_await others.join();
    EXPECT_EQ(refused, std::vector(2, ErrorCode::precondition_failed));
    EXPECT_EQ((co_await test.event_types(id)).back(), "in time");
  });
}

TEST_F(RuntimeTest, SaysTheVersionNowWhereAnotherWasExpected) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const std::uint64_t version = (co_await test.runtime->session(id)).record.version;
    Json details;
    try {
      co_await test.runtime->append(id, expecting(version + 5, "never"));
    } catch (const Error& error) {
      details = error.details();
    }
    EXPECT_EQ(details, (Json{{"version", version}, {"expected", version + 5}}));
    EXPECT_EQ((co_await test.runtime->session(id)).record.version, version);
  });
}

TEST_F(RuntimeTest, AppendsToASessionAtRest) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.runtime->create_session({})).record.id;
    co_await test.pass(Seconds(60));
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    co_await test.runtime->append(id, entry("note"));
    EXPECT_EQ((co_await test.event_types(id)), (std::vector<std::string>{"session.created", "note"}));
  });
}

TEST_F(RuntimeTest, AppendsToASessionThatIsOverOnlyWhatMayBeSaidThen) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.runtime->end_session(id, "test");
    EXPECT_EQ(co_await code_of(test.runtime->append(id, entry("note"))), ErrorCode::session_ended);
    session::Entry read = entry("journal.read");
    read.also_after_end = true;
    co_await test.runtime->append(id, read);
    co_await test.runtime->append(id, read);
    const auto types = co_await test.event_types(id);
    EXPECT_EQ(std::vector(types.end() - 3, types.end()),
              (std::vector<std::string>{"session.ended", "journal.read", "journal.read"}));
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::ended);
  });
}

TEST_F(RuntimeTest, RefusesEntriesOfASessionThatEndsBeforeTheirTurn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    std::vector<ErrorCode> refused;
    TaskGroup writers(test.loop.executor());
    writers.spawn(test.runtime->end_session(id, "test"));
    for (int i = 0; i < 3; ++i) writers.spawn(append_to(*test.runtime, id, entry("late"), refused));
    co_await writers.join();
    EXPECT_EQ(refused, std::vector(3, ErrorCode::session_ended));
    EXPECT_EQ((co_await test.event_types(id)).back(), "session.ended");
  });
}

TEST_F(RuntimeTest, TellsEveryWriterWhenTheirCommitFails) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit&) { return true; };
    std::vector<ErrorCode> refused;
    TaskGroup writers(test.loop.executor());
    for (int i = 0; i < 2; ++i) writers.spawn(append_to(*test.runtime, id, entry("note"), refused));
    co_await writers.join();
    EXPECT_EQ(refused, std::vector(2, ErrorCode::store_full));
    test.guarded.refuses = nullptr;
    co_await test.runtime->append(id, entry("again"));
    EXPECT_EQ((co_await test.event_types(id)).back(), "again");
  });
}

TEST_F(RuntimeTest, MovesASessionThroughItsStages) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.runtime->create_session({.lifecycle = "impact-assessment"})).record.id;
    const SessionView view = co_await test.runtime->move_stage(
        id, {.stage = "requirement_submitted", .reason = "it came", .actor = "ada"});
    EXPECT_EQ(view.record.head.stage, "requirement_submitted");
    EXPECT_EQ(co_await code_of(test.runtime->move_stage(id, {.stage = "completed"})), ErrorCode::stage_not_allowed);
    const store::Event event = (co_await test.store.events(id, 2, 1)).at(0);
    const JsonObject body = parse_json_object(event.body);
    EXPECT_EQ(body.at("type"), "session.stage");
    EXPECT_EQ(body.at("actor"), "ada");
    EXPECT_EQ(body.at("data"), (Json{{"from", "created"}, {"to", "requirement_submitted"}, {"reason", "it came"}}));
  });
}

TEST_F(RuntimeTest, MovesASessionWithoutLifecycleToAnyStage) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    EXPECT_EQ((co_await test.runtime->move_stage(id, {.stage = "anywhere"})).record.head.stage, "anywhere");
    EXPECT_EQ(co_await code_of(test.runtime->move_stage(id, {.stage = "No Word"})), ErrorCode::invalid_request);
    EXPECT_EQ(co_await code_of(test.runtime->move_stage(id, {.stage = "x", .reason = std::string(5'000, 'r')})),
              ErrorCode::too_large);
  });
}

TEST_F(RuntimeTest, CreatesNoSessionOfALifecycleThatIsUnknown) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ(co_await code_of(test.runtime->create_session({.lifecycle = "nope"})), ErrorCode::invalid_request);
    EXPECT_TRUE((co_await test.store.list({}, "", 10)).sessions.empty());
  });
}

}  // namespace sojourn::runtime
