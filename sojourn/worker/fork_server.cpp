#include "sojourn/worker/fork_server.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <utility>

#include "sojourn/worker/backoff.hpp"
#include "sojourn/worker/channels.hpp"
#include "sojourn/worker/fork_messages.hpp"
#include "sojourn/worker/lines.hpp"

namespace sojourn::worker {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;
using namespace std::chrono_literals;

namespace {

// What loading the app may take.
constexpr auto preload_time = 600s;

// What one fork may take; a parent that needs longer hangs.
constexpr auto fork_time = 30s;

// What a dead parent said last is waited for.
constexpr auto last_lines_wait = 500ms;

// The kernel needs no more to end a killed process.
constexpr auto kill_wait = 5s;

// The parent or the fork ended in between, which another try may not meet.
Error lost_meanwhile(std::string_view how, JsonObject details = {}) {
  return Error(ErrorCode::worker_lost, fmt::format("its parent process {}", how), std::move(details));
}

Error not_in_time() {
  return Error(ErrorCode::worker_start_failed, "it was not forked in time");
}

}  // namespace

struct ForkServer::Parent {
  explicit Parent(const Executor& executor, Descriptor control) : socket(executor, control.release()) {}

  stream_descriptor socket;
  std::shared_ptr<Process> process;  // shared with the supervisor; null until it is started
  Completion<bool> ready;
  std::optional<Completion<pid_t>> forking;  // what the fork that runs is answered with
  std::uint64_t forks = 0;
  std::optional<Instant> owes_since;  // an answer, or another one since it gave its last; nothing: none
  bool lost = false;
  std::size_t readers = 0;  // of its lines, that have not reached their end
  LastLines last_errors;
  Event changed;
};

ForkServer::ForkServer(Supervisor& supervisor, Clock& clock, const Log& log, Options options)
    : supervisor_(supervisor),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      group_(supervisor.executor()) {}

ForkServer::~ForkServer() {
  assert(parent_ == nullptr && group_.size() == 0);
}

pid_t ForkServer::parent() const {
  return parent_ == nullptr || parent_->process == nullptr ? 0 : parent_->process->pid();
}

Async<ForkServer::Forked> ForkServer::fork(std::shared_ptr<WorkerUsers::Lease> lease, Instant deadline) {
  constexpr int tries = 3;
  for (int attempt = 1;; ++attempt) {
    const auto parent = co_await ready_parent(deadline);
    const auto turn = co_await turns_.take_until(clock_, deadline);
    if (!turn) throw not_in_time();
    std::optional<Error> lost;
    try {
      Forked forked = co_await fork_from(parent, lease, deadline);
      failures_ = 0;
      co_return forked;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::worker_lost) throw;
      lost = error;
    }
    if (attempt > 1) lose(parent, *lost);
    if (attempt == tries) throw Error(ErrorCode::worker_start_failed, lost->message(), lost->details());
  }
}

// The parent once it has loaded the app. It goes on loading when nobody waits for it any more.
Async<std::shared_ptr<ForkServer::Parent>> ForkServer::ready_parent(Instant deadline) {
  if (closed_) throw Error(ErrorCode::unavailable, "the server is stopping");
  if (parent_ == nullptr) {
    if (last_failure_ && failures_ > 0 && clock_.instant() < next_try_) throw Error(*last_failure_);
    auto [ours, theirs] = make_socketpair(SOCK_SEQPACKET);
    parent_ = std::make_shared<Parent>(group_.executor(), std::move(ours));
    group_.spawn(start(parent_, std::move(theirs)));
  }
  const auto parent = parent_;
  if (!co_await parent->ready.wait_until(clock_, deadline)) {
    throw Error(ErrorCode::worker_start_failed, "its parent process did not load the app in time");
  }
  co_return parent;
}

Async<void> ForkServer::start(std::shared_ptr<Parent> parent, Descriptor control) {
  std::optional<Error> failed;
  try {
    Channels channels = make_channels();
    ProcessLimits limits = options_.limits;
    limits.cpu_seconds = 0;  // it works for all of them
    parent->process = co_await supervisor_.spawn({.command = options_.command,
                                                  .environment = options_.environment,
                                                  .folder = options_.folder,
                                                  .limits = limits,
                                                  .lease = nullptr,
                                                  .forks = true,
                                                  .socket = std::move(control),
                                                  .output = std::move(channels.theirs[1]),
                                                  .errors = std::move(channels.theirs[2])},
                                                 clock_.instant() + preload_time);
    parent->readers = 2;
    group_.spawn(read_lines(parent, std::move(channels.ours.output), false));
    group_.spawn(read_lines(parent, std::move(channels.ours.errors), true));
    group_.spawn(read_messages(parent));
    group_.spawn(watch_exit(parent));
    if (!co_await parent->ready.wait_until(clock_, clock_.instant() + preload_time)) {
      failed.emplace(ErrorCode::worker_start_failed, "its parent process did not load the app in time");
    }
  } catch (const Error& error) {
    failed = error;
  }
  if (failed) lose(parent, *failed);
}

Async<void> ForkServer::read_lines(std::shared_ptr<Parent> parent, Descriptor pipe, bool errors) {
  co_await each_line(std::move(pipe), [&](std::string line, bool) {
    log_.info("an app's parent process says", {{"app", options_.app}, {"line", line}});
    if (errors) parent->last_errors.add(std::move(line));
  });
  --parent->readers;
  parent->changed.notify_all();
}

Async<void> ForkServer::read_messages(std::shared_ptr<Parent> parent) {
  std::vector<char> room(fork_message_bytes);
  std::optional<Error> wrong;
  while (!wrong) {
    PassedDescriptors unwanted;
    const ssize_t got = receive_packet(parent->socket.native_handle(), room, unwanted, MSG_DONTWAIT);
    if (got > 0) {
      try {
        take(*parent, parse_json_object({room.data(), static_cast<std::size_t>(got)}));
      } catch (const Error& error) {
        wrong = Error(ErrorCode::worker_start_failed, error.message(), error.details());
      }
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      boost::system::error_code error;
      co_await parent->socket.async_wait(stream_descriptor::wait_read,
                                         asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
    } else {
      co_await parent->process->exited().wait_until(clock_, clock_.instant() + last_lines_wait);
      if (parent->process->exited().is_set()) co_return;  // watch_exit() says how
      wrong = Error(ErrorCode::worker_start_failed, "its parent process closed its connection");
    }
  }
  lose(parent, *wrong);
}

void ForkServer::take(Parent& parent, const JsonObject& message) {
  const ForkMessage said = read_fork_message(message);
  if (said.type == "preloaded") {
    log_.info("an app was loaded for its sessions", {{"app", options_.app}, {"pid", parent.process->pid()}});
    parent.ready.set(true);
  } else if (!parent.ready.is_set()) {
    throw said.error.value_or(Error(ErrorCode::protocol_error, "its parent process forks before it has loaded"));
  } else if (said.n && said.n != parent.forks) {
    parent.owes_since = clock_.instant();  // nobody waits for this one any more
  } else {
    parent.owes_since.reset();
    if (!parent.forking) return;
    if (said.type == "forked") {
      parent.forking->set(said.pid);
    } else {
      parent.forking->fail(std::make_exception_ptr(said.error.value_or(lost_meanwhile("did not fork it"))));
    }
  }
}

Async<void> ForkServer::watch_exit(std::shared_ptr<Parent> parent) {
  const ExitStatus status = co_await parent->process->exited().wait();
  const Instant last_lines = clock_.instant() + last_lines_wait;
  while (parent->readers > 0 && co_await parent->changed.wait_until(clock_, last_lines)) {
  }
  lose(parent, Error(ErrorCode::worker_start_failed,
                     fmt::format("its parent process {}{}", status.describe(),
                                 parent->ready.is_set() ? "" : " before it had loaded the app"),
                     status.details()));
}

void ForkServer::lose(const std::shared_ptr<Parent>& parent, const Error& cause) {
  if (std::exchange(parent->lost, true)) return;
  if (parent_ == parent) parent_.reset();
  JsonObject details = cause.details();
  if (!parent->last_errors.is_empty()) details["stderr"] = parent->last_errors.text();
  last_failure_ = Error(ErrorCode::worker_start_failed, cause.message(), std::move(details));
  const Seconds pause = ++failures_ == 1 ? 0s : backoff(failures_ - 1);  // the first is followed by another at once
  next_try_ = clock_.instant() + pause;
  log_.error("an app's parent process is lost; its sessions go on",
             {{"app", options_.app}, {"error", cause.message()}, {"pause_seconds", pause.count()}});
  parent->ready.fail(std::make_exception_ptr(*last_failure_));
  if (parent->forking) parent->forking->fail(std::make_exception_ptr(lost_meanwhile("ended", cause.details())));
  end(*parent);
}

// However long each who asked it has waited.
void ForkServer::lose_if_hung(const std::shared_ptr<Parent>& parent) {
  if (!parent->owes_since || clock_.instant() < *parent->owes_since + fork_time) return;
  lose(parent, Error(ErrorCode::worker_start_failed, "its parent process hangs"));
}

void ForkServer::end(Parent& parent) {
  parent.lost = true;
  if (parent.process != nullptr) parent.process->signal(SIGKILL);
  boost::system::error_code error;
  parent.socket.cancel(error);
}

Async<ForkServer::Forked> ForkServer::fork_from(std::shared_ptr<Parent> parent,
                                                std::shared_ptr<WorkerUsers::Lease> lease, Instant deadline) {
  lose_if_hung(parent);
  if (parent->lost) throw lost_meanwhile("ended");
  Channels channels = make_channels();
  Completion<pid_t> answer;
  parent->forking = answer;
  if (!send_packet(parent->socket.native_handle(),
                   fork_request(++parent->forks, lease == nullptr ? 0 : lease->user()), channels.theirs)) {
    parent->forking.reset();
    if (is_shortage(errno)) throw io_error("passing a fork its descriptors", errno);
    throw lost_meanwhile("cannot be asked", {{"errno", errno}});
  }
  channels.theirs = {};  // the fork alone has them, so that its end shows
  if (!parent->owes_since) parent->owes_since = clock_.instant();
  std::optional<pid_t> pid;
  while (!pid && clock_.instant() < deadline) {
    const Instant hung = parent->owes_since.value_or(clock_.instant()) + fork_time;
    pid = co_await answer.wait_until(clock_, std::min(deadline, hung));
    if (!pid) lose_if_hung(parent);
  }
  if (!pid) throw not_in_time();
  std::optional<Error> refused;
  try {
    auto process = co_await supervisor_.adopt(parent->process, *pid, options_.limits, lease, deadline);
    co_return Forked{std::move(process), std::move(channels.ours)};
  } catch (const Error& error) {
    refused = error;
  }
  throw lost_meanwhile("or the fork ended meanwhile: " + refused->message(), refused->details());
}

Async<void> ForkServer::close() {
  closed_ = true;
  if (const auto parent = std::exchange(parent_, nullptr)) {
    end(*parent);
    parent->ready.fail(std::make_exception_ptr(Error(ErrorCode::unavailable, "the server is stopping")));
    if (parent->process != nullptr) {
      co_await parent->process->gone().wait_until(clock_, clock_.instant() + kill_wait);
    }
  }
  group_.cancel();
  co_await group_.join();
}

}  // namespace sojourn::worker
