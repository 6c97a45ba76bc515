#include "sojourn/worker/supervisor.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "sojourn/worker/process_test_bench.hpp"
#include "sojourn/worker/supervisor_mark.hpp"
#include "sojourn/worker/test_workers.hpp"

namespace sojourn::worker {

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t owner_of_the_dead = 0x50'1E'AF'01;

// A server's life up to the moment it is killed.
Async<void> serve_until_killed(std::string folder) {
  const auto executor = co_await boost::asio::this_coro::executor;
  SystemClock clock;
  const Log log = Log::silent();
  Supervisor supervisor(executor, clock, log, {.owner = owner_of_the_dead + static_cast<unsigned>(::getppid())});
  Manifest manifest;
  manifest.info.name = "test";
  manifest.folder = folder;
  manifest.command = {this_program(), "worker", "app"};
  Isolation isolation;
  ProcessApp app(manifest, supervisor, isolation, clock, log);
  Recorder events;
  session::Opening opening;
  opening.session_id = "sess_1";
  opening.folder = folder;
  opening.events = &events;
  const auto worker = co_await app.open(std::move(opening), clock.instant() + Seconds(20));
  session::Session session("sess_1");
  TestScope scope(session, {.task_id = "1",
                            .function = "daemon",
                            .input = {},
                            .outside_changes = {},
                            .deadline = clock.instant() + Seconds(20)});
  co_await worker->call(scope);
  {
    std::ofstream ready(folder + "/ready.tmp");
    ready << supervisor.pid();
  }
  fs::rename(folder + "/ready.tmp", folder + "/ready");
  co_await sleep_until(clock, clock.instant() + Seconds(1000));
}

using Bench = ProcessTestBench;
using testing::HasSubstr;
using testing::SizeIs;

class SupervisorTest : public Bench {};

// What `/bin/sh -c script` prints in a process of the supervisor.
Async<std::string> output_of(Bench& bench, std::string script, ProcessLimits limits) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor reading(ends[0]);
  Launch launch;
  launch.command = {"sh", "-c", std::move(script)};
  launch.environment = {"PATH=/usr/bin:/bin", "GREETING=hello"};
  launch.folder = bench.folder.string();
  launch.limits = limits;
  launch.socket = Descriptor(::fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
  launch.errors = Descriptor(::fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
  launch.output = Descriptor(ends[1]);
  const auto process = co_await bench.supervisor->spawn(std::move(launch), bench.in(Seconds(20)));
  EXPECT_TRUE(co_await process->gone().wait_until(bench.clock, bench.in(Seconds(20))));
  std::string output;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(reading.get(), buffer.data(), buffer.size())) > 0;) {
    output.append(buffer.data(), static_cast<std::size_t>(got));
  }
  co_return output;
}

TEST_F(SupervisorTest, GivesAProcessItsFolderVariablesAndNothingElse) {
  run([](Bench& bench) -> Async<void> {
    EXPECT_EQ(co_await output_of(bench, "pwd; echo $GREETING $HOME; cat", {}), bench.folder.string() + "\nhello\n");
    // Descriptor 3 is the worker's socket; ls opens the folder as the next.
    EXPECT_EQ(co_await output_of(bench, "exec ls /proc/self/fd", {}), "0\n1\n2\n3\n4\n");
    EXPECT_EQ(co_await output_of(bench, "cut -d ' ' -f 6 /proc/$$/stat | grep -qx $$ && echo leads", {}), "leads\n");
    EXPECT_THAT(co_await output_of(bench, "exec cat /proc/self/status", {}),
                testing::AllOf(HasSubstr("NoNewPrivs:\t1"), HasSubstr("SigBlk:\t0000000000000000"),
                               HasSubstr("0000000\nSigCgt")));
  });
}

TEST_F(SupervisorTest, SetsTheLimits) {
  run([](Bench& bench) -> Async<void> {
    const ProcessLimits limits{
        .memory_bytes = 512u << 20, .cpu_seconds = 7, .processes = 99, .open_files = 33, .file_bytes = 1u << 20};
    const std::string text = co_await output_of(bench, "cat /proc/self/limits | tr -s ' '", limits);
    EXPECT_THAT(text, HasSubstr("Max address space 536870912 536870912"));
    EXPECT_THAT(text, HasSubstr("Max cpu time 7 8"));
    EXPECT_THAT(text, HasSubstr("Max processes 99 99"));
    EXPECT_THAT(text, HasSubstr("Max open files 33 33"));
    EXPECT_THAT(text, HasSubstr("Max file size 1048576 1048576"));
    EXPECT_THAT(text, HasSubstr("Max core file size 0 0"));
  });
}

TEST_F(SupervisorTest, ReportsEachEnd) {
  run([](Bench& bench) -> Async<void> {
    for (const auto& [script, end] :
         {std::pair("exit 5", "exited with status 5"), {"kill -9 $$", "was killed by SIGKILL"}}) {
      Launch launch;
      launch.command = {"/bin/sh", "-c", script};
      launch.folder = "/";
      launch.socket = Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC));
      launch.output = Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC));
      launch.errors = Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC));
      const auto process = co_await bench.supervisor->spawn(std::move(launch), bench.in(Seconds(20)));
      const auto status = co_await process->exited().wait_until(bench.clock, bench.in(Seconds(20)));
      EXPECT_EQ(status.value_or(ExitStatus()).describe(), end);
    }
  });
}

TEST_F(SupervisorTest, RefusesTooMuchTextBeforeItIsSent) {
  run([](Bench& bench) -> Async<void> {
    const Error error = co_await error_of(output_of(bench, std::string(200'000, ' '), {}));
    EXPECT_EQ(error.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(error.message(), HasSubstr("at most 131072"));
  });
}

TEST_F(SupervisorTest, DoesNotStartAgainOnceItIsClosed) {
  run([](Bench& bench) -> Async<void> {
    bench.supervisor->start();
    co_await bench.supervisor->close();
    const Error error = co_await error_of(output_of(bench, "echo too late", {}));
    EXPECT_EQ(error.code(), ErrorCode::unavailable);
    EXPECT_EQ(bench.supervisor->pid(), 0);
  });
}

TEST_F(SupervisorTest, SaysThatItsProgramIsMissing) {
  run([](Bench& bench) -> Async<void> {
    Supervisor missing(bench.loop.executor(), bench.clock, bench.log,
                       {.program = "/no/such/program", .arguments = {}});
    try {
      missing.start();
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unavailable);
      EXPECT_THAT(error.message(), HasSubstr("/no/such/program"));
    }
    co_return;
  });
}

// Handles of the processes that descend from `ancestor`, once there are `count`.
std::vector<Descriptor> handles_of_descendants(pid_t ancestor, std::size_t count) {
  std::vector<pid_t> processes = descendants(ancestor);
  for (int i = 0; i < 2000 && processes.size() < count; ++i) {
    ::usleep(10'000);
    processes = descendants(ancestor);
  }
  EXPECT_THAT(processes, SizeIs(count));
  std::vector<Descriptor> handles;
  for (const pid_t process : processes) handles.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  return handles;
}

bool has_ended(const Descriptor& process) {
  pollfd ended{process.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) > 0;
}

// The processes that bear a mark of `owner`, also those that wait to be reaped.
std::set<pid_t> marked_by(std::uint32_t owner) {
  std::set<pid_t> found;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const pid_t pid = std::atoi(entry->path().filename().c_str());
    const auto mark = pid == 0 ? std::nullopt : mark_of(pid);
    if (mark && mark->owner == owner) found.insert(pid);
  }
  return found;
}

// A server with a supervisor, a worker and its daemon, each of which can be killed.
class DoomedServer {
 public:
  explicit DoomedServer(const fs::path& folder) {
    const std::string program = this_program();
    const std::string text = folder.string();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl(program.c_str(), program.c_str(), "server", text.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 2000 && !fs::exists(folder / "ready"); ++i) ::usleep(10'000);
    EXPECT_TRUE(fs::exists(folder / "ready"));
    std::ifstream(folder / "ready") >> supervisor_;
    handles_ = handles_of_descendants(pid_, 3);
  }

  pid_t supervisor() const { return supervisor_; }

  void kill() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // Whether nothing that it started is left, now or soon.
  bool is_gone() const {
    return std::ranges::all_of(handles_, [](const Descriptor& handle) {
      pollfd ended{handle.get(), POLLIN, 0};
      return ::poll(&ended, 1, 20'000) == 1;
    });
  }

  std::size_t left() const {
    return static_cast<std::size_t>(std::ranges::count_if(handles_, [](const auto& h) { return !has_ended(h); }));
  }

 private:
  pid_t pid_ = 0;
  pid_t supervisor_ = 0;
  std::vector<Descriptor> handles_;
};

TEST_F(SupervisorTest, KillsEveryProcessWhenTheServerIsKilled) {
  DoomedServer server(folder);
  server.kill();
  EXPECT_TRUE(server.is_gone());
}

TEST_F(SupervisorTest, KillsWhatAServerLeftThatWasKilledTogetherWithItsSupervisor) {
  DoomedServer server(folder);
  ::kill(server.supervisor(), SIGSTOP);
  server.kill();
  ::kill(server.supervisor(), SIGKILL);
  for (int i = 0; i < 2000 && server.left() > 1; ++i) ::usleep(10'000);
  EXPECT_EQ(server.left(), 1u) << "the daemon";
  run([](Bench& bench) -> Async<void> {
    Supervisor next(bench.loop.executor(), bench.clock, bench.log,
                    {.owner = owner_of_the_dead + static_cast<unsigned>(::getpid())});
    next.start();
    co_await next.close();
  });
  EXPECT_TRUE(server.is_gone());
}

TEST_F(SupervisorTest, KillsWhatItsWorkersLeftWhenItWasKilledItself) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    co_await bench.call(*worker, "daemon");
    const std::vector<Descriptor> handles = handles_of_descendants(::getpid(), 3);
    ::kill(bench.supervisor->pid(), SIGKILL);
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    // A closed worker has left nothing, and nobody had to ask for the next one.
    co_await bench.close(*worker);
    EXPECT_TRUE(std::ranges::all_of(handles, has_ended));
  });
}

TEST_F(SupervisorTest, CatchesWhatForksItselfAwayAllTheTimeWhenItWasKilledItself) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    std::optional<Mark> mark;
    for (const pid_t process : descendants(::getpid())) {
      if (!mark) mark = mark_of(process);
    }
    EXPECT_TRUE(mark);
    co_await bench.call(*worker, "hopper");
    ::kill(bench.supervisor->pid(), SIGKILL);
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    co_await bench.close(*worker);
    if (!mark) co_return;
    // It would be another process in each look, or leave others that wait to be reaped.
    const std::set<pid_t> dead = marked_by(mark->owner);
    for (int look = 0; look < 50; ++look) EXPECT_TRUE(std::ranges::includes(dead, marked_by(mark->owner)));
  });
}

TEST_F(SupervisorTest, SparesTheWorkersOfOthers) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    Supervisor other(bench.loop.executor(), bench.clock, bench.log);
    other.start();
    co_await other.close();
    EXPECT_EQ(co_await bench.call(*worker, "echo", 1), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(SupervisorTest, DoesNotReplaceOneThatNeverWasReady) {
  run([](Bench& bench) -> Async<void> {
    Supervisor broken(bench.loop.executor(), bench.clock, bench.log, {.program = "/bin/false", .arguments = {}});
    broken.start();
    co_await bench.until([&broken] { return broken.pid() == 0; });
    co_await broken.close();
    EXPECT_EQ(broken.pid(), 0);
  });
}

}  // namespace

int run_test_server(std::string_view folder) {
  Loop().run(serve_until_killed(std::string(folder)));
  return 0;
}

}  // namespace sojourn::worker
