#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "sojourn/worker/process_test_bench.hpp"
#include "sojourn/worker/test_workers.hpp"

namespace sojourn::worker {

namespace fs = std::filesystem;

std::string this_program() {
  return fs::read_symlink("/proc/self/exe").string();
}

std::vector<pid_t> descendants(pid_t ancestor) {
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text;
    std::getline(file, text);
    const auto after_name = text.rfind(')');
    if (after_name == std::string::npos) continue;
    char state = 0;
    pid_t parent = 0;
    std::istringstream rest(text.substr(after_name + 1));
    rest >> state >> parent;
    if (state != 'Z') children.emplace(parent, std::stoi(name));
  }
  std::vector<pid_t> found{ancestor};
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto [begin, end] = children.equal_range(found[i]);
    for (auto child = begin; child != end; ++child) found.push_back(child->second);
  }
  found.erase(found.begin());
  return found;
}

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

void ProcessTestBench::run(Body body) {
  loop.run(sleep_until(clock, clock.instant()));  // Asio opens what it needs with its first timer
  const std::size_t before = open_descriptors();
  supervisor = std::make_unique<Supervisor>(loop.executor(), clock, log);
  loop.run(run_and_close(body));
  supervisor.reset();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_THAT(descendants(::getpid()), testing::IsEmpty());
}

Async<void> ProcessTestBench::run_and_close(Body body) {
  std::exception_ptr failed;
  try {
    co_await body(*this);
  } catch (...) {
    failed = std::current_exception();
  }
  co_await supervisor->close();
  if (failed) ADD_FAILURE() << to_error(failed).message();
}

ProcessApp& ProcessTestBench::app(std::string mode) {
  return program({this_program(), "worker", std::move(mode)});
}

ProcessApp& ProcessTestBench::program(std::vector<std::string> command, ProcessLimits limits) {
  Manifest manifest;
  manifest.info.name = "tests/app";
  manifest.info.version = "1.2";
  manifest.folder = "/apps/test";
  manifest.command = std::move(command);
  manifest.limits = limits;
  manifest.env = {{"TEETH", "32"}};
  apps_.push_back(std::make_unique<ProcessApp>(std::move(manifest), *supervisor, isolation, clock, log));
  return *apps_.back();
}

session::Opening ProcessTestBench::opening() {
  session::Opening opening;
  opening.session_id = session.id();
  opening.context = {{"shop", 7}};
  opening.folder = folder.string();
  opening.events = &events;
  return opening;
}

Async<std::unique_ptr<session::Worker>> ProcessTestBench::open(std::string mode) {
  co_return co_await app(std::move(mode)).open(opening(), in(Seconds(20)));
}

session::CallRequest ProcessTestBench::request(std::string function, Json input) {
  return {.task_id = "task_" + std::to_string(++calls_),
          .function = std::move(function),
          .input = std::move(input),
          .outside_changes = {},
          .deadline = in(Seconds(20))};
}

Async<Json> ProcessTestBench::call(session::Worker& worker, std::string function, Json input) {
  TestScope scope(session, request(std::move(function), std::move(input)));
  try {
    Json output = co_await worker.call(scope);
    session.state().accept();
    co_return output;
  } catch (...) {
    session.state().discard();
    throw;
  }
}

Async<void> ProcessTestBench::close(session::Worker& worker, Milliseconds time) {
  co_await worker.close(session::CloseReason::ended, in(time));
}

Async<void> ProcessTestBench::until(std::function<bool()> done) {
  const Instant deadline = in(Seconds(20));
  while (!done()) {
    if (clock.instant() > deadline) {
      ADD_FAILURE() << "it did not come to be";
      co_return;
    }
    co_await sleep_until(clock, in(Milliseconds(2)));
  }
}

}  // namespace sojourn::worker
