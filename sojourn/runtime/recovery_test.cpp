#include "sojourn/runtime/recovery.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sojourn/runtime/leftover_resource.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/session/kept_session.hpp"
#include "sojourn/store/verify.hpp"

namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;
using testing::HasSubstr;

constexpr std::string_view left_id = "sess_20260101_000000_abcdef";

// What a server leaves that was killed while a call ran.
class RecoveryTest : public RuntimeTest {
 public:
  void leave_session(std::string app_name, std::optional<Seconds> timeout = 60s) {
    loop.run(leave(*this, app_name, timeout));
  }

  static Async<void> leave(RecoveryTest& test, std::string app_name, std::optional<Seconds> timeout) {
    session::Beginning beginning;
    beginning.record = {.id = std::string(left_id), .app = app_name, .app_version = "1", .idle_timeout = timeout};
    if (timeout) beginning.record.head.expires_at = test.clock.now() + *timeout;
    beginning.created = {.type = "session.created", .actor = "me"};
    beginning.tasks.push_back({.id = "task_00000000000000000000000001",
                               .seq = 1,
                               .function = "run",
                               .status = TaskStatus::received,
                               .created_at = test.clock.now(),
                               .updated_at = test.clock.now()});
    const auto kept =
        co_await session::KeptSession::create(test.store, test.clock, test.random, std::move(beginning));
    session::Step step;
    step.resources_added.push_back({.session_id = std::string(left_id),
                                    .id = "tmp",
                                    .kind = "folder",
                                    .created_at = test.clock.now(),
                                    .cleanup = to_text(JsonObject{{"path", test.left_folder.string()}})});
    step.resources_added.push_back({.session_id = std::string(left_id), .id = "closure", .kind = "thing"});
    step.state.push_back({"count", "41"});
    step.events.push_back(
        {.type = "call.checkpoint", .actor = "app", .data = "{\"state\":" + session::state_hashes(step.state) + "}"});
    co_await kept->commit(std::move(step));
  }

  std::filesystem::path left_folder =
      std::filesystem::temp_directory_path() / ("sojourn-recovery-" + SystemRandom().hex(8));
};

TEST_F(RecoveryTest, ASessionThatLivedInAWorkersMemoryFails) {
  leave_session("app");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto snapshot = co_await test.store.load(std::string(left_id));
    EXPECT_EQ(snapshot->record.head.status, SessionStatus::failed);
    EXPECT_THAT(snapshot->record.head.error, HasSubstr("WORKER_LOST"));
    const auto last = co_await test.store.events(std::string(left_id), snapshot->record.head.chain.seq, 1);
    EXPECT_THAT(last.front().body, HasSubstr("\"usage\":" + store::usage_text(snapshot->record.head)));
    EXPECT_EQ(snapshot->record.head.call_count, 1u);
    const auto task = co_await test.store.task("task_00000000000000000000000001");
    EXPECT_EQ(task->status, TaskStatus::failed);
    EXPECT_THAT(task->error, HasSubstr("WORKER_LOST"));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(std::string(left_id), "run")), ErrorCode::worker_lost);
    EXPECT_TRUE((co_await store::verify(test.store, std::string(left_id))).ok());
  });
}

TEST_F(RecoveryTest, ASessionThatKeepsItsStateGoesOn) {
  info.recover = true;
  leave_session("app");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ((co_await test.store.task("task_00000000000000000000000001"))->status, TaskStatus::failed);
    EXPECT_EQ((co_await test.call(std::string(left_id), "increment")).task.output, "42");
    EXPECT_TRUE(test.script.restored);
    EXPECT_TRUE((co_await store::verify(test.store, std::string(left_id))).ok());
  });
}

TEST_F(RecoveryTest, ASessionWhoseTimePassedMeanwhileHasExpired) {
  info.recover = true;
  leave_session("app", 60s);
  with_runtime([](RuntimeTest&) -> Async<void> { co_return; });  // settles its call
  clock.advance(61s);
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(std::string(left_id), "run")), ErrorCode::session_expired);
  });
}

TEST_F(RecoveryTest, ASessionThatWasBusyToTheLastWasNotIdle) {
  info.recover = true;
  leave_session("app", 60s);  // with a call that is not over
  clock.advance(300s);
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto left = co_await test.store.load(std::string(left_id));
    EXPECT_EQ(left->record.head.status, SessionStatus::active);
    EXPECT_EQ(left->record.head.expires_at, test.clock.now() + 60s);
    EXPECT_EQ((co_await test.call(std::string(left_id), "increment")).task.output, "42");
  });
}

TEST_F(RecoveryTest, ASessionThatIsOverIsNotBroughtBackByWhatItLeft) {
  info.recover = true;
  leave_session("app");
  with_runtime(
      [](RuntimeTest& base) -> Async<void> { co_await base.runtime->end_session(std::string(left_id), "me"); });
  loop.run([](RuntimeTest& test) -> Async<void> {
    session::KeptSession kept(test.store, test.clock, *co_await test.store.load(std::string(left_id)));
    session::Step step;
    step.resources_added.push_back({.session_id = std::string(left_id), .id = "late", .kind = "thing"});
    co_await kept.commit(std::move(step));
  }(*this));
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto stored = co_await test.store.load(std::string(left_id));
    EXPECT_EQ(stored->record.head.status, SessionStatus::ended);
    EXPECT_EQ(stored->record.head.end_reason, "ended by request");
    EXPECT_TRUE(stored->resources.empty());
  });
}

TEST_F(RecoveryTest, ASessionThatGoesOnStillExpiresInTime) {
  info.recover = true;
  leave_session("app", 60s);
  with_runtime([](RuntimeTest&) -> Async<void> { co_return; });  // settles its call
  clock.advance(30s);
  with_runtime([](RuntimeTest& test) -> Async<void> {
    co_await test.pass(29s);
    EXPECT_EQ((co_await test.runtime->session(std::string(left_id))).record.head.status, SessionStatus::active);
    co_await test.pass(2s);
    EXPECT_EQ((co_await test.runtime->session(std::string(left_id))).record.head.status, SessionStatus::expired);
  });
}

TEST_F(RecoveryTest, CleansUpWhatCanBeAndReportsTheRestAsLeaked) {
  std::filesystem::create_directories(left_folder / "deep");
  leave_session("app");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ((co_await test.store.load(std::string(left_id)))->resources.size(), 0u);
    const std::vector<std::string> types = co_await test.event_types(std::string(left_id));
    EXPECT_EQ(std::ranges::count(types, "resource.leaked"), 1);
    EXPECT_EQ(std::ranges::count(types, "resource.released"), 1);
  });
  EXPECT_FALSE(std::filesystem::exists(left_folder));
}

TEST_F(RecoveryTest, ASessionOfAnotherVersionOfItsAppIsRefused) {
  info.recover = true;
  info.version = "2";
  leave_session("app");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(std::string(left_id), "run")), ErrorCode::version_mismatch);
  });
}

TEST_F(RecoveryTest, ASessionThatCannotBeSettledKeepsNoOtherFromBeingServed) {
  leave_session("app");
  Options options;
  options.make_folder = [](const store::SessionRecord& record) -> std::string {
    if (record.id == left_id) throw Error(ErrorCode::io_error, "no folder");
    return "/";
  };
  with_runtime(
      [](RuntimeTest& test) -> Async<void> {
        EXPECT_EQ((co_await test.call("new", "run", 5)).task.output, "5");
        const auto left = co_await test.store.load(std::string(left_id));
        EXPECT_EQ(left->open_tasks.size(), 1u);  // as it was, for the next try
      },
      std::move(options));
}

store::ResourceRecord noted(JsonObject cleanup) {
  return {.id = "r", .kind = "k", .cleanup = to_text(cleanup)};
}

TEST(LeftoverResource, RemovesOnlyWhatLiesWhereLeftoversMayLie) {
  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("sojourn-left-" + SystemRandom().hex(8));
  std::filesystem::create_directories(root);
  std::ofstream(root / "file") << "x";
  EXPECT_EQ(clean_up_leftover(noted({{"path", (root / "file").string()}}), ""), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(root / "file"));
  EXPECT_EQ(clean_up_leftover(noted({{"path", (root / "file").string()}}), ""), std::nullopt);  // gone already
  for (const char* path : {"/etc/hostname", "/tmp/../etc/hostname", "relative", "/", "/tmp"}) {
    EXPECT_NE(clean_up_leftover(noted({{"path", path}}), ""), std::nullopt) << path;
  }
  std::filesystem::create_symlink("/etc", root / "link");
  EXPECT_NE(clean_up_leftover(noted({{"path", (root / "link" / "hostname").string()}}), ""), std::nullopt);
  EXPECT_EQ(clean_up_leftover(noted({{"path", (root / "link").string()}}), ""), std::nullopt);
  EXPECT_TRUE(std::filesystem::exists("/etc/hostname"));
  std::filesystem::remove_all(root);
}

TEST(LeftoverResource, APathThatOnlySeemsToLieWithinAFolderDoesNotTakeThatFolderAlong) {
  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("sojourn-left-" + SystemRandom().hex(8));
  const std::string folder = (root / "session").string();
  std::filesystem::create_directories(folder + "/inside");
  for (const char* end : {"/.", "/..", "/inside/..", "/inside/../", "/inside/."}) {
    EXPECT_NE(clean_up_leftover(noted({{"path", folder + end}}), folder), std::nullopt) << end;
    EXPECT_TRUE(std::filesystem::exists(folder + "/inside")) << end;
  }
  EXPECT_EQ(clean_up_leftover(noted({{"path", folder + "/inside/"}}), folder), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(folder + "/inside"));
  EXPECT_TRUE(std::filesystem::exists(folder));
  std::filesystem::remove_all(root);
}

TEST(LeftoverResource, SparesAProcessThatOnlyHasTheSameNumber) {
  EXPECT_EQ(clean_up_leftover(noted({{"pid", ::getpid()}, {"start", 1}}), ""), std::nullopt);
  EXPECT_NE(clean_up_leftover(noted({{"pid", 1}, {"start", 1}}), ""), std::nullopt);
}

TEST(LeftoverResource, UnlinksSharedMemory) {
  const std::string name = "/sojourn-test-" + SystemRandom().hex(8);
  const int descriptor = ::shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  ASSERT_GE(descriptor, 0);
  ::close(descriptor);
  EXPECT_EQ(clean_up_leftover(noted({{"shm", name}}), ""), std::nullopt);
  EXPECT_LT(::shm_open(name.c_str(), O_RDWR, 0600), 0);
}

TEST(LeftoverResource, DoesNothingForAWorkerThatItMightNotDoItself) {
  const std::string name = "sojourn-left-" + SystemRandom().hex(8);
  const std::filesystem::path folder = "/tmp/" + name;
  std::filesystem::create_directories(folder / "inside");
  const auto owner = ::getuid();
  const auto path = [](const std::filesystem::path& to) { return JsonObject{{"path", to.string()}}; };
  const auto by = [](JsonObject note, const char* key, const Json& value) {
    note[key] = value;
    return noted(std::move(note));
  };
  // Of another user, and below what others might change meanwhile.
  EXPECT_NE(clean_up_leftover(by(path(folder), "user", owner + 1), ""), std::nullopt);
  EXPECT_NE(clean_up_leftover(by(path(folder / "inside"), "user", owner), ""), std::nullopt);
  // What a sandbox showed as /tmp was another.
  EXPECT_EQ(clean_up_leftover(by(path(folder), "sandbox", true), ""), std::nullopt);
  EXPECT_TRUE(std::filesystem::exists(folder / "inside"));
  EXPECT_EQ(clean_up_leftover(by(path(folder / "inside"), "sandbox", true), folder.string()), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(folder / "inside"));
  EXPECT_EQ(clean_up_leftover(by(path(folder), "user", owner), ""), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(folder));

  const int descriptor = ::shm_open(("/" + name).c_str(), O_CREAT | O_RDWR, 0600);
  ASSERT_GE(descriptor, 0);
  ::close(descriptor);
  EXPECT_NE(clean_up_leftover(by({{"shm", "/" + name}}, "user", owner + 1), ""), std::nullopt);
  EXPECT_EQ(clean_up_leftover(by({{"shm", "/" + name}}, "user", owner), ""), std::nullopt);
  EXPECT_LT(::shm_open(("/" + name).c_str(), O_RDWR, 0600), 0);

  // All processes of its user have ended; this one, which would be the end of this test, is another's.
  std::ifstream file("/proc/self/stat");
  std::string field;
  for (int i = 0; i < 22; ++i) file >> field;
  const JsonObject self{{"pid", ::getpid()}, {"start", std::stoll(field)}};
  EXPECT_EQ(clean_up_leftover(by(self, "user", 12345), ""), std::nullopt);
  EXPECT_EQ(clean_up_leftover(by(self, "sandbox", true), ""), std::nullopt);
}

TEST(LeftoverResource, SaysWhenNobodyKnowsHow) {
  EXPECT_NE(clean_up_leftover({.id = "r", .kind = "k"}, ""), std::nullopt);
  EXPECT_NE(clean_up_leftover(noted({{"else", 1}}), ""), std::nullopt);
}

}  // namespace

}  // namespace sojourn::runtime
