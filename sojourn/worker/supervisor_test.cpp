#include "sojourn/worker/supervisor.hpp"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

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

}  // namespace

int run_test_server(std::string_view folder) {
  Loop().run(serve_until_killed(std::string(folder)));
  return 0;
}

}  // namespace sojourn::worker
