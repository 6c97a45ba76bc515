#include "sojourn/worker/process_app.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <utility>

#include "sojourn/worker/process_worker.hpp"

namespace sojourn::worker {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// What a worker whose setup failed gets to exit by itself.
constexpr auto failed_setup_exit = 1s;

std::pair<Descriptor, Descriptor> make_socketpair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw io_error("a socket for a worker", errno);
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

std::pair<Descriptor, Descriptor> make_pipe() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw io_error("a pipe for a worker", errno);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// The error with what the program said last, and for a program that never came up the app's name.
Error explain(const Error& error, const session::AppInfo& app, const std::string& last_errors) {
  JsonObject details = error.details();
  if (!last_errors.empty()) details["stderr"] = last_errors;
  const bool by_app = error.code() != ErrorCode::worker_start_failed && error.code() != ErrorCode::protocol_error;
  std::string message = by_app ? error.message() : fmt::format("app {}: {}", app.name, error.message());
  return Error(error.code(), std::move(message), std::move(details)).set_retryable(error.retryable());
}

}  // namespace

ProcessApp::ProcessApp(Manifest manifest, Supervisor& supervisor, Clock& clock, const Log& log)
    : manifest_(std::move(manifest)), supervisor_(supervisor), clock_(clock), log_(log) {}

std::vector<std::string> ProcessApp::environment(const session::Opening& opening) const {
  const char* path = std::getenv("PATH");
  const char* zone = std::getenv("TZ");
  std::map<std::string, std::string> variables{
      {"PATH", path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path},
      {"LANG", "C.UTF-8"},
      {"SOJOURN_PROTOCOL", std::to_string(protocol_version)},
      {"SOJOURN_SESSION", opening.session_id},
      {"SOJOURN_APP", manifest_.info.name},
      {"SOJOURN_APP_DIR", manifest_.folder},
  };
  if (zone != nullptr) variables["TZ"] = zone;
  if (!opening.folder.empty()) {
    variables["HOME"] = opening.folder;
    variables["TMPDIR"] = opening.folder + "/tmp";
  }
  for (const auto& [name, value] : manifest_.env) variables[name] = value;
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

Async<std::unique_ptr<session::Worker>> ProcessApp::open(session::Opening opening, Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  if (!opening.folder.empty() && ::mkdir((opening.folder + "/tmp").c_str(), 0700) != 0 && errno != EEXIST) {
    throw io_error(opening.folder + "/tmp", errno);
  }
  auto [socket, their_socket] = make_socketpair();
  auto [output, their_output] = make_pipe();
  auto [errors, their_errors] = make_pipe();
  Launch launch{.command = manifest_.command,
                .environment = environment(opening),
                .folder = opening.folder.empty() ? "/" : opening.folder,
                .limits = manifest_.limits,
                .socket = std::move(their_socket),
                .output = std::move(their_output),
                .errors = std::move(their_errors)};
  std::shared_ptr<Process> process;
  try {
    process = co_await supervisor_.spawn(std::move(launch), deadline);
  } catch (const Error& error) {
    throw explain(error, info(), "");
  }

  session::WorkerEvents* const events = opening.events;
  auto worker =
      std::make_unique<ProcessWorker>(executor, clock_, log_, std::move(process),
                                      WorkerEnds{std::move(socket), std::move(output), std::move(errors)}, events);
  std::exception_ptr failed;
  try {
    co_await worker->open(std::move(opening), manifest_.info.version, deadline);
  } catch (...) {
    failed = std::current_exception();
  }
  if (!failed) co_return worker;
  // Nothing may be left of it, also where this coroutine was asked to stop.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await worker->close(session::CloseReason::lost, std::min(deadline, clock_.instant() + failed_setup_exit));
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  try {
    std::rethrow_exception(failed);
  } catch (const Error& error) {
    throw explain(error, info(), worker->last_errors());
  }
}

}  // namespace sojourn::worker
