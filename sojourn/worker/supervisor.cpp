#include "sojourn/worker/supervisor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/worker/packet.hpp"
#include "sojourn/worker/supervisor_mark.hpp"
#include "sojourn/worker/supervisor_messages.hpp"

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgot to say that it is C
}

namespace sojourn::worker {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;

struct Packet {
  std::string bytes;
  PassedDescriptors descriptors;
};

namespace {

// How long the supervisor may take to kill what is left, before it is killed itself.
constexpr auto farewell = Seconds(10);

// How long another one may take to kill what its predecessor left, before that counts as gone all the same.
constexpr auto first_look = Seconds(10);

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", name);
}

std::string_view describe(SpawnStep step) {
  switch (step) {
    case SpawnStep::fork:
      return "no process could be made";
    case SpawnStep::folder:
      return "its working folder could not be entered";
    case SpawnStep::limits:
      return "its limits could not be set";
    case SpawnStep::exec:
      return "the program could not be run";
    case SpawnStep::descriptors:
      return "its descriptors could not be passed";
    case SpawnStep::cgroup:
      return "its control group could not be made";
    case SpawnStep::adopt:
      return "the process that was forked for it is not there";
    case SpawnStep::user:
      return "it could not become its user";
  }
  return "it could not be started";
}

uid_t id_of(const std::shared_ptr<WorkerUsers::Lease>& lease) {
  return lease == nullptr ? 0 : lease->user();
}

// No worker that has an id alone may fork for ever.
ProcessLimits limits_for(ProcessLimits limits, const std::shared_ptr<WorkerUsers::Lease>& lease) {
  if (lease != nullptr && limits.processes == 0) limits.processes = default_processes;
  return limits;
}

Packet spawn_packet(std::uint32_t token, Launch launch) {
  const SupervisorRequest request{.kind = RequestKind::spawn,
                                  .signal = 0,
                                  .token = token,
                                  .limits = limits_for(launch.limits, launch.lease),
                                  .user = id_of(launch.lease),
                                  .users = {},
                                  .parent = 0,
                                  .pid = 0,
                                  .arguments = static_cast<std::uint32_t>(launch.command.size()),
                                  .variables = static_cast<std::uint32_t>(launch.environment.size())};
  Packet packet;
  packet.bytes.append(reinterpret_cast<const char*>(&request), sizeof request);
  const auto append = [&packet](const std::string& text) { packet.bytes.append(text.c_str(), text.size() + 1); };
  append(launch.folder);
  for (const std::string& argument : launch.command) append(argument);
  for (const std::string& variable : launch.environment) append(variable);
  packet.descriptors = {std::move(launch.socket), std::move(launch.output), std::move(launch.errors)};
  return packet;
}

Packet begin_packet(std::uint32_t owner, const UserRange& users, const std::string& cgroups) {
  const SupervisorRequest request{.kind = RequestKind::begin, .token = owner, .limits = {}, .users = users};
  std::string bytes(reinterpret_cast<const char*>(&request), sizeof request);
  return {bytes.append(cgroups.c_str(), cgroups.size() + 1), {}};
}

Packet plain_packet(const SupervisorRequest& request) {
  return {std::string(reinterpret_cast<const char*>(&request), sizeof request), {}};
}

std::uint32_t drawn_owner() {
  std::random_device source;
  return std::uniform_int_distribution<std::uint32_t>(1, Mark::most_owner)(source);
}

}  // namespace

std::string ExitStatus::describe() const {
  if (!wait_status) return "was lost with the supervisor";
  if (memory_limit != 0) return fmt::format("was killed for memory: limit {} MiB", memory_limit / limits::mebibyte);
  if (WIFSIGNALED(*wait_status)) return "was killed by " + signal_name(WTERMSIG(*wait_status));
  return fmt::format("exited with status {}", WEXITSTATUS(*wait_status));
}

JsonObject ExitStatus::details() const {
  if (!wait_status) return {{"supervisor", "lost"}};
  if (memory_limit != 0) return {{"memory_mb", memory_limit / limits::mebibyte}};
  if (WIFSIGNALED(*wait_status)) return {{"signal", signal_name(WTERMSIG(*wait_status))}};
  return {{"exit_status", WEXITSTATUS(*wait_status)}};
}

// One running supervisor.
struct SupervisorLink : std::enable_shared_from_this<SupervisorLink> {
  SupervisorLink(TaskGroup& owner, Descriptor control, Descriptor process, pid_t process_id)
      : group(owner),
        socket(owner.executor(), control.release()),
        pidfd(owner.executor(), process.release()),
        pid(process_id) {}

  void send(Packet packet) {
    queue.push_back(std::move(packet));
    if (!sending && !send_some()) {
      sending = true;
      group.spawn(send_waiting(shared_from_this()));
    }
  }

  // Whether nothing waits any more.
  bool send_some() {
    while (!queue.empty()) {
      const Packet& packet = queue.front();
      if (!send_packet(socket.native_handle(), packet.bytes, packet.descriptors)) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return false;
        // The supervisor is gone, which the reader notices, and fails whoever waits.
      }
      queue.pop_front();
    }
    return true;
  }

  static Async<void> send_waiting(std::shared_ptr<SupervisorLink> link) {
    while (!link->send_some()) {
      co_await link->socket.async_wait(stream_descriptor::wait_write, asio::use_awaitable);
    }
    link->sending = false;
  }

  void take(const SupervisorReport& report) {
    if (report.kind == ReportKind::ready) {
      ready.set(true);
      return;
    }
    const auto found = processes.find(report.token);
    if (found == processes.end()) return;
    Process& process = *found->second;
    switch (report.kind) {
      case ReportKind::started:
        process.pid_ = report.pid;
        process.started_.set(true);
        break;
      case ReportKind::failed:
        process.started_.fail(std::make_exception_ptr(Error(
            is_shortage(report.value) ? ErrorCode::unavailable : ErrorCode::worker_start_failed,
            fmt::format("{}: {}", describe(report.step), std::strerror(report.value)), {{"errno", report.value}})));
        process.lease_.reset();
        processes.erase(found);
        break;
      case ReportKind::exited:
        process.exited_.set(
            ExitStatus{report.value, report.memory_limit, {Microseconds(report.cpu_us), report.peak_memory}});
        break;
      case ReportKind::gone:
        process.lease_.reset();
        process.gone_.set(true);
        processes.erase(found);
        break;
      case ReportKind::ready:
        break;
    }
  }

  void lose_all() {
    for (const auto& [token, process] : processes) {
      process->started_.fail(
          std::make_exception_ptr(Error(ErrorCode::worker_start_failed, "the supervisor ended meanwhile")));
      process->exited_.set(ExitStatus{});
    }
  }

  void all_gone() {
    for (const auto& [token, process] : std::exchange(processes, {})) {
      process->lease_.reset();
      process->gone_.set(true);
    }
  }

  TaskGroup& group;
  stream_descriptor socket;
  stream_descriptor pidfd;
  pid_t pid;
  std::map<std::uint32_t, std::shared_ptr<Process>> processes;  // shared with who spawned them
  std::deque<Packet> queue;
  bool sending = false;
  Completion<bool> ready;  // nothing of its predecessors is left; or it has ended itself
  Event ended;
  bool has_ended = false;
};

void Process::signal(int signal) {
  const auto link = link_.lock();
  if (link == nullptr || exited_.is_set()) return;
  link->send(
      plain_packet({.kind = RequestKind::signal, .signal = signal, .token = token_, .limits = {}, .users = {}}));
}

Supervisor::Supervisor(Executor executor, Clock& clock, const Log& log, Options options)
    : clock_(clock), log_(log), options_(std::move(options)), group_(std::move(executor)) {
  if (options_.owner == 0) options_.owner = drawn_owner();
  assert(options_.owner <= Mark::most_owner);
}

Supervisor::Supervisor(Executor executor, Clock& clock, const Log& log)
    : Supervisor(std::move(executor), clock, log, Options()) {}

Supervisor::~Supervisor() {
  assert(link_ == nullptr && group_.size() == 0);
}

pid_t Supervisor::pid() const {
  return link_ == nullptr ? 0 : link_->pid;
}

void Supervisor::start() {
  if (link_ != nullptr) return;
  if (closed_) throw Error(ErrorCode::unavailable, "the supervisor is closed, so nothing is started any more");
  std::array<int, 2> ends{-1, -1};
  const auto check = [this](std::string_view what, int error) {
    if (error == 0) return;
    throw Error(
        ErrorCode::unavailable,
        fmt::format("the supervisor {} cannot be started: {}: {}", options_.program, what, std::strerror(error)),
        {{"errno", error}});
  };
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) check("socketpair", errno);
  Descriptor ours(ends[0]);
  const Descriptor theirs(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), passed_descriptor);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<char*> arguments{options_.program.data()};
  for (std::string& argument : options_.arguments) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, options_.program.c_str(), &actions, &attributes, arguments.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  check("posix_spawn", error);

  Descriptor pidfd(::pidfd_open(pid, 0));
  if (!pidfd) {
    const int reason = errno;
    ::kill(pid, SIGKILL);  // our child until it is reaped in the next line
    ::waitpid(pid, nullptr, 0);
    check("pidfd_open", reason);
  }
  link_ = std::make_shared<SupervisorLink>(group_, std::move(ours), std::move(pidfd), pid);
  link_->send(begin_packet(options_.owner, options_.users, options_.cgroups));
  group_.spawn(serve_link(link_));
}

Async<void> Supervisor::serve_link(std::shared_ptr<SupervisorLink> link) {
  for (;;) {
    SupervisorReport report{};
    const ssize_t got = ::recv(link->socket.native_handle(), &report, sizeof report, MSG_DONTWAIT);
    if (got == sizeof report) {
      if (report.kind == ReportKind::ready && report.value > 0) {
        log_.warning("killed what workers of a lost supervisor had left", {{"processes", report.value}});
      }
      link->take(report);
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      boost::system::error_code error;
      co_await link->socket.async_wait(stream_descriptor::wait_read,
                                       asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
    } else {
      break;
    }
  }
  if (link_ == link) {
    log_.error("the supervisor ended; its workers are lost", {{"pid", link->pid}});
    link_.reset();
  }
  boost::system::error_code error;
  link->socket.close(error);
  co_await link->pidfd.async_wait(stream_descriptor::wait_read, asio::redirect_error(asio::use_awaitable, error));
  ::waitpid(link->pid, nullptr, 0);
  // Only now: until its process ended, its workers were alive or being killed.
  link->lose_all();
  link->has_ended = true;
  link->ended.notify_all();
  const bool was_ready = link->ready.is_set();
  link->ready.set(true);
  // One that died before it was ready is replaced by the next spawn, or a broken one would be started without end.
  if (was_ready && !closed_) co_await replace();
  link->all_gone();
}

// Has another supervisor kill what the lost one left.
Async<void> Supervisor::replace() {
  try {
    start();
  } catch (const Error& error) {
    log_.error("no other supervisor could be started; what the lost one's workers left may live on", error.to_json());
    co_return;
  }
  const auto next = link_;
  co_await next->ready.wait_until(clock_, clock_.instant() + first_look);
}

Async<void> Supervisor::ready(Instant deadline) {
  start();
  const auto link = link_;
  if (!co_await link->ready.wait_until(clock_, deadline)) {
    throw Error(ErrorCode::unavailable, "the supervisor still ends what workers before it had left");
  }
}

Async<std::shared_ptr<Process>> Supervisor::spawn(Launch launch, Instant deadline) {
  start();
  const std::string program = launch.command.at(0);
  const std::uint32_t token = launch.forks ? --last_parent_token_ : ++last_token_;
  const auto lease = launch.lease;
  Packet packet = spawn_packet(token, std::move(launch));
  if (packet.bytes.size() > max_request_bytes) {
    throw Error(ErrorCode::worker_start_failed,
                fmt::format("{}: command and environment together have {} bytes; at most {} are allowed", program,
                            packet.bytes.size(), max_request_bytes));
  }
  co_return co_await request(token, std::move(packet), lease, program, deadline);
}

Async<std::shared_ptr<Process>> Supervisor::adopt(std::shared_ptr<Process> parent, pid_t pid, ProcessLimits limits,
                                                  std::shared_ptr<WorkerUsers::Lease> lease, Instant deadline) {
  const auto link = parent->link_.lock();
  if (link == nullptr || link != link_) throw Error(ErrorCode::worker_start_failed, "the supervisor ended meanwhile");
  const std::uint32_t token = ++last_token_;
  Packet packet = plain_packet({.kind = RequestKind::adopt,
                                .token = token,
                                .limits = limits_for(limits, lease),
                                .user = id_of(lease),
                                .users = {},
                                .parent = parent->token_,
                                .pid = pid});
  co_return co_await request(token, std::move(packet), std::move(lease), "a fork", deadline);
}

// The process that `packet` asks for.
Async<std::shared_ptr<Process>> Supervisor::request(std::uint32_t token, Packet packet,
                                                    std::shared_ptr<WorkerUsers::Lease> lease, std::string what,
                                                    Instant deadline) {
  const auto link = link_;
  auto process = std::make_shared<Process>();
  process->token_ = token;
  process->link_ = link;
  process->lease_ = std::move(lease);
  link->processes.emplace(token, process);
  link->send(std::move(packet));
  std::exception_ptr failed;
  try {
    if (co_await process->started_.wait_until(clock_, deadline)) co_return process;
    failed = std::make_exception_ptr(Error(ErrorCode::worker_start_failed, "it did not start in time"));
  } catch (...) {
    failed = std::current_exception();
  }
  process->signal(SIGKILL);
  try {
    std::rethrow_exception(failed);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", what, error.message()), error.details());
  }
}

Async<void> Supervisor::close() {
  closed_ = true;
  if (const auto link = std::exchange(link_, nullptr)) {
    ::shutdown(link->socket.native_handle(), SHUT_RDWR);
    const Instant deadline = clock_.instant() + farewell;
    while (!link->has_ended && co_await link->ended.wait_until(clock_, deadline)) {
    }
    if (!link->has_ended) {
      log_.error("the supervisor did not end in time and is killed", {{"pid", link->pid}});
      ::pidfd_send_signal(link->pidfd.native_handle(), SIGKILL, nullptr, 0);
    }
  }
  co_await group_.join();
}

}  // namespace sojourn::worker
