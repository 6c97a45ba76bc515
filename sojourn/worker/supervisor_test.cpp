#include "sojourn/worker/supervisor.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <sstream>

#include "sojourn/worker/process_test_bench.hpp"
#include "sojourn/worker/test_workers.hpp"

namespace sojourn::worker {

namespace fs = std::filesystem;

namespace {

// A server's life up to the moment it is killed.
Async<void> serve_until_killed(std::string folder) {
  const auto executor = co_await boost::asio::this_coro::executor;
  SystemClock clock;
  const Log log = Log::silent();
  Supervisor supervisor(executor, clock, log);
  Manifest manifest;
  manifest.info.name = "test";
  manifest.folder = folder;
  manifest.command = {this_program(), "worker", "app"};
  ProcessApp app(manifest, supervisor, clock, log);
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

TEST_F(SupervisorTest, KillsEveryProcessWhenTheServerIsKilled) {
  const std::string program = this_program();
  const std::string folder_text = folder.string();
  const pid_t server = ::fork();
  if (server == 0) {
    ::execl(program.c_str(), program.c_str(), "server", folder_text.c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 2000 && !fs::exists(folder / "ready"); ++i) ::usleep(10'000);
  ASSERT_TRUE(fs::exists(folder / "ready"));
  // The supervisor, the worker, and the worker's daemon.
  std::vector<pid_t> processes = descendants(server);
  for (int i = 0; i < 2000 && processes.size() < 3; ++i) {
    ::usleep(10'000);
    processes = descendants(server);
  }
  EXPECT_THAT(processes, SizeIs(3));
  std::vector<Descriptor> handles;
  for (const pid_t process : processes) handles.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  for (const Descriptor& handle : handles) {
    pollfd ended{handle.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 20'000), 1);
  }
}

}  // namespace

int run_test_server(std::string_view folder) {
  Loop().run(serve_until_killed(std::string(folder)));
  return 0;
}

}  // namespace sojourn::worker
