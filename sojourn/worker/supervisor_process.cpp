#include "sojourn/worker/supervisor_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/worker/cgroup.hpp"
#include "sojourn/worker/packet.hpp"
#include "sojourn/worker/supervisor_mark.hpp"
#include "sojourn/worker/supervisor_messages.hpp"

namespace sojourn::worker {

namespace {

// How often what should die is looked for again, should a signal not have told.
constexpr int sweep_interval_ms = 50;

std::int64_t microseconds(const timeval& time) {
  return std::int64_t(time.tv_sec) * 1'000'000 + time.tv_usec;
}

// The token of no worker.
constexpr std::uint32_t nobody = 0;

// Reports that wait for the server; past it no requests are read.
constexpr std::size_t most_reports = 4096;

// The processes whose parent is this one. They stay there, running or as zombies, until this process reaps them: so
// their ids, and those of their groups, cannot come to mean others meanwhile.
std::vector<pid_t> children() {
  std::vector<pid_t> found;
  const Descriptor file(::open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer;
  pid_t pid = 0;
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return found;
    for (const char c : std::string_view(buffer.data(), static_cast<std::size_t>(got))) {
      if (c >= '0' && c <= '9') {
        pid = pid * 10 + (c - '0');
      } else if (pid != 0) {
        found.push_back(pid);
        pid = 0;
      }
    }
  }
}

// Kills a child that is not a worker's main process, with its group.
void kill_orphan(pid_t child) {
  const pid_t group = ::getpgid(child);
  if (group > 1 && group != ::getpgrp()) ::kill(-group, SIGKILL);
  ::kill(child, SIGKILL);
}

struct Spawn {
  const SupervisorRequest* request;
  const char* folder;
  std::vector<char*> arguments;  // with a null at the end, as exec wants it
  std::vector<char*> variables;
  Descriptor socket, output, errors;
  Descriptor cgroup;  // none where there are none
};

// In the child, between fork and exec.
class Birth {
 public:
  Birth(Spawn& spawn, std::uint32_t owner, bool users, pid_t supervisor, int failures)
      : spawn_(spawn), owner_(owner), users_(users), supervisor_(supervisor), failures_(failures) {}

  [[noreturn]] void become_worker() {
    // A session of its own: no other worker's process can enter its groups.
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != supervisor_) ::_exit(127);
    restore_signals();
    pass_descriptors();
    if (::chdir(spawn_.folder) != 0) fail(SpawnStep::folder);
    set_limits();
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    become_user();
    ::environ = spawn_.variables.data();
    ::execvp(spawn_.arguments[0], spawn_.arguments.data());
    fail(SpawnStep::exec);
  }

 private:
  static void restore_signals() {
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  // What came is above passed_descriptor, so that no target is also a source.
  void pass_descriptors() {
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(spawn_.output.get(), STDOUT_FILENO) < 0 ||
        ::dup2(spawn_.errors.get(), STDERR_FILENO) < 0 || ::dup2(spawn_.socket.get(), passed_descriptor) < 0) {
      fail(SpawnStep::descriptors);
    }
    const auto first = static_cast<unsigned>(passed_descriptor) + 1;
    const auto kept = static_cast<unsigned>(failures_);
    if (kept > first) ::close_range(first, kept - 1, 0);
    ::close_range(kept + 1, ~0u, 0);
  }

  void set_limits() {
    be_killed_first();
    if (!hold_to(spawn_.request->limits, static_cast<bool>(spawn_.cgroup))) fail(SpawnStep::limits);
    // Where it cannot be set, a daemon that leaves its session lives on until the supervisor ends.
    bear({.owner = owner_, .token = spawn_.request->token});
  }

  void become_user() {
    // What hides the server's files from workers is not theirs.
    if (users_) ::umask(022);
    if (spawn_.request->user == 0) return;
    if (!become(spawn_.request->user)) fail(SpawnStep::user);
    // Becoming another user forgot it.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != supervisor_) ::_exit(127);
  }

  // A machine that runs out of memory ends workers before the server.
  static void be_killed_first() {
    const Descriptor file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
    [[maybe_unused]] const ssize_t written = ::write(file.get(), "500", 3);
  }

  [[noreturn]] void fail(SpawnStep step) {
    const SupervisorReport report{.kind = ReportKind::failed, .step = step, .value = errno};
    [[maybe_unused]] const ssize_t written = ::write(failures_, &report, sizeof report);
    ::_exit(127);
  }

  Spawn& spawn_;
  std::uint32_t owner_;
  bool users_;
  pid_t supervisor_;
  int failures_;
};

// A worker's main process.
struct Supervised {
  std::uint32_t token = 0;
  Descriptor starting;  // brings what failed, or its end when exec succeeded
  std::uint64_t memory_limit = 0;
  uid_t user = 0;  // that it has alone; 0: the server's
  bool started = false;
  std::optional<std::int32_t> ended;  // it was reaped; what is left of its descendants is being killed
  bool user_killed = false;           // with all processes that it had
};

class SupervisorProcess {
 public:
  SupervisorProcess();
  void run();

 private:
  void wait();
  bool take_request();
  void begin(const SupervisorRequest& request, std::string cgroups);
  void spawn(Spawn& spawn);
  void adopt(const SupervisorRequest& request);
  void signal(std::uint32_t token, int signal);
  void finish_start(pid_t pid, Supervised& worker);
  void reap();
  void reap_one(pid_t pid);
  void sweep();
  std::optional<std::uint32_t> worker_of(pid_t child) const;
  bool has_ended(std::uint32_t token) const;
  void kill_all();

  void report(SupervisorReport report) { reports_.push_back(report); }
  void send_reports();
  void drain_signals();

  Descriptor control_{passed_descriptor};
  Descriptor signals_;
  std::uint32_t owner_ = 0;
  UserRange users_;  // of its workers; none where they have the server's
  Cgroups cgroups_;
  // Not in a worker's own workers without rights, whose marks cannot be set.
  const bool marks_hold_ = ::geteuid() == 0 || !mark_of(::getpid());
  std::map<pid_t, Supervised> workers_;  // by the main process, which keeps its id until it is reaped
  std::vector<Supervised> ended_;        // whose main process was reaped
  std::deque<SupervisorReport> reports_;
  std::vector<pollfd> polled_;
  std::vector<char> packet_ = std::vector<char>(max_request_bytes);
};

SupervisorProcess::SupervisorProcess() {
  ::close_range(static_cast<unsigned>(passed_descriptor) + 1, ~0u, 0);
  ::fcntl(control_.get(), F_SETFD, FD_CLOEXEC);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::prctl(PR_SET_NAME, "sojourn-superv");
  // Only the closed socket ends it: a Ctrl-C or a TERM meant for the server must let workers clean up first.
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(ignored, SIG_IGN);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child, nullptr);
  signals_.reset(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
}

void SupervisorProcess::run() {
  for (;;) {
    wait();
    drain_signals();
    for (auto& [pid, worker] : workers_) {
      if (worker.starting) finish_start(pid, worker);
    }
    reap();
    sweep();
    send_reports();
    if (reports_.size() < most_reports && !take_request()) break;
  }
  kill_all();
}

void SupervisorProcess::wait() {
  polled_.clear();
  short control = reports_.size() < most_reports ? POLLIN : short{0};
  if (!reports_.empty()) control |= POLLOUT;
  polled_.push_back({control_.get(), control, 0});
  polled_.push_back({signals_.get(), POLLIN, 0});
  for (const auto& [pid, worker] : workers_) {
    if (worker.starting) polled_.push_back({worker.starting.get(), POLLIN, 0});
  }
  ::poll(polled_.data(), polled_.size(), ended_.empty() ? -1 : sweep_interval_ms);
}

void SupervisorProcess::drain_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) > 0) {
  }
}

// False when the server is gone.
bool SupervisorProcess::take_request() {
  PassedDescriptors passed;
  const ssize_t got = receive_packet(control_.get(), packet_, passed, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;

  SupervisorRequest request{};
  std::memcpy(&request, packet_.data(), sizeof request);
  char* next = packet_.data() + sizeof request;
  const auto text = [&next] { return std::exchange(next, next + std::strlen(next) + 1); };
  switch (request.kind) {
    case RequestKind::begin:
      begin(request, text());
      return true;
    case RequestKind::signal:
      signal(request.token, request.signal);
      return true;
    case RequestKind::adopt:
      adopt(request);
      return true;
    case RequestKind::spawn:
      break;
  }

  Spawn wanted{&request, text(), {}, {}, std::move(passed[0]), std::move(passed[1]), std::move(passed[2]), {}};
  for (std::uint32_t i = 0; i < request.arguments; ++i) wanted.arguments.push_back(text());
  for (std::uint32_t i = 0; i < request.variables; ++i) wanted.variables.push_back(text());
  wanted.arguments.push_back(nullptr);
  wanted.variables.push_back(nullptr);
  spawn(wanted);
  return true;
}

// Before the first worker is started: whoever bears this mark now was left by a supervisor that was killed.
void SupervisorProcess::begin(const SupervisorRequest& request, std::string cgroups) {
  owner_ = request.token;
  users_ = request.users;
  cgroups_.use(std::move(cgroups));
  report({.kind = ReportKind::ready, .value = static_cast<std::int32_t>(kill_marked(owner_, request.users))});
}

void SupervisorProcess::spawn(Spawn& spawn) {
  const std::uint32_t token = spawn.request->token;
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    report({.kind = ReportKind::failed, .step = SpawnStep::descriptors, .token = token, .value = errno});
    return;
  }
  Descriptor failures(ends[0]);
  Descriptor writing(ends[1]);
  if (cgroups_.are_used()) {
    spawn.cgroup = cgroups_.make(token, spawn.request->limits);
    if (!spawn.cgroup) {
      report({.kind = ReportKind::failed, .step = SpawnStep::cgroup, .token = token, .value = errno});
      return;
    }
  }
  const pid_t self = ::getpid();
  const pid_t pid = spawn.cgroup ? fork_into(spawn.cgroup) : ::fork();
  if (pid == 0) Birth(spawn, owner_, !users_.is_empty(), self, writing.get()).become_worker();
  if (pid < 0) {
    report({.kind = ReportKind::failed, .step = SpawnStep::fork, .token = token, .value = errno});
    cgroups_.end(token);
    return;
  }
  workers_.emplace(pid, Supervised{.token = token,
                                   .starting = std::move(failures),
                                   .memory_limit = spawn.request->limits.memory_bytes,
                                   .user = spawn.request->user});
}

// Only what a parent of workers forked bears that parent's mark, so no other process can be meant.
void SupervisorProcess::adopt(const SupervisorRequest& request) {
  const auto fail = [&](SpawnStep step, int error) {
    // The group stays until what it took in is dead.
    if (!cgroups_.end(request.token)) ended_.push_back({.token = request.token, .user_killed = true});
    report({.kind = ReportKind::failed, .step = step, .token = request.token, .value = error});
  };
  const auto parent =
      std::ranges::find_if(workers_, [&](const auto& worker) { return worker.second.token == request.parent; });
  const auto mark = mark_of(request.pid);
  if (parent == workers_.end() || !mark || mark != mark_of(parent->first) || workers_.contains(request.pid)) {
    return fail(SpawnStep::adopt, ESRCH);
  }
  if (cgroups_.are_used() && !cgroups_.take_in(cgroups_.make(request.token, request.limits), request.pid)) {
    return fail(SpawnStep::cgroup, errno);
  }
  if (!hold_to(request.limits, cgroups_.are_used(), request.pid)) return fail(SpawnStep::limits, errno);
  bear({.owner = owner_, .token = request.token}, request.pid);
  workers_.emplace(request.pid, Supervised{.token = request.token,
                                           .starting = {},
                                           .memory_limit = request.limits.memory_bytes,
                                           .user = request.user,
                                           .started = true});
  report({.kind = ReportKind::started, .token = request.token, .pid = request.pid});
}

void SupervisorProcess::signal(std::uint32_t token, int signal) {
  for (const auto& [pid, worker] : workers_) {
    if (worker.token != token) continue;
    if (::kill(-pid, signal) != 0) ::kill(pid, signal);  // it may not have reached its setsid yet
    return;
  }
}

void SupervisorProcess::finish_start(pid_t pid, Supervised& worker) {
  SupervisorReport failure{};
  const ssize_t got = ::read(worker.starting.get(), &failure, sizeof failure);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  worker.starting.reset();
  if (got == sizeof failure) {
    failure.token = worker.token;
    report(failure);
  } else {
    worker.started = true;
    report({.kind = ReportKind::started, .token = worker.token, .pid = pid});
  }
}

void SupervisorProcess::reap() {
  for (;;) {
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    reap_one(ended.si_pid);
  }
}

void SupervisorProcess::reap_one(pid_t pid) {
  const auto found = workers_.find(pid);
  if (found != workers_.end()) {
    // While the zombie is there its id names this group and no other.
    ::kill(-pid, SIGKILL);
    if (found->second.starting) finish_start(pid, found->second);
  }
  int status = 0;
  rusage used{};
  ::wait4(pid, &status, 0, &used);
  if (found == workers_.end()) return;
  Supervised worker = std::move(found->second);
  workers_.erase(found);
  worker.ended = status;
  // One that never ran its program was nobody, and its id may be another's by now.
  worker.user_killed = worker.user == 0 || !worker.started || kill_user(worker.user);
  if (worker.started) {
    const bool starved = WIFSIGNALED(status) && cgroups_.ran_out_of_memory(worker.token);
    report({.kind = ReportKind::exited,
            .token = worker.token,
            .pid = pid,
            .value = status,
            .memory_limit = starved ? worker.memory_limit : 0,
            .cpu_us = microseconds(used.ru_utime) + microseconds(used.ru_stime),
            .peak_memory = static_cast<std::uint64_t>(used.ru_maxrss) * limits::kibibyte});
  }
  ended_.push_back(std::move(worker));
}

// Kills what workers left behind, and reports those that left nothing. Only children are killed: those that descend
// from them become children then.
void SupervisorProcess::sweep() {
  if (ended_.empty()) return;
  std::vector<std::uint32_t> found;
  for (const pid_t child : children()) {
    if (workers_.contains(child)) continue;
    const std::optional<std::uint32_t> token = worker_of(child);
    if (!token || (*token != nobody && !has_ended(*token))) continue;
    found.push_back(*token);
    kill_orphan(child);
  }
  std::erase_if(ended_, [&](Supervised& worker) {
    if (!worker.user_killed) worker.user_killed = kill_user(worker.user);
    const bool empty = cgroups_.end(worker.token) && worker.user_killed;
    if (!empty || std::ranges::find(found, worker.token) != found.end()) return false;
    if (worker.started) report({.kind = ReportKind::gone, .token = worker.token});
    return true;
  });
}

// The worker that `child` descends from; nothing where that cannot be told.
std::optional<std::uint32_t> SupervisorProcess::worker_of(pid_t child) const {
  // Without CAP_SYS_RESOURCE the mark of another user's process cannot be read, but the user alone tells.
  if (const auto user = users_.is_empty() ? std::nullopt : user_of(child); user && users_.holds(*user)) {
    const auto is_of = [&](const Supervised& worker) { return worker.user == *user; };
    const auto living =
        std::ranges::find_if(workers_, is_of, [](const auto& entry) -> auto& { return entry.second; });
    if (living != workers_.end()) return living->second.token;
    const auto ended = std::ranges::find_if(ended_, is_of);
    return ended == ended_.end() ? nobody : ended->token;
  }
  errno = 0;
  const auto mark = mark_of(child);
  if (mark && mark->owner == owner_) return mark->token;
  // Where every worker bears its mark, one without has taken it off.
  return errno == 0 && marks_hold_ ? std::optional(nobody) : std::nullopt;
}

bool SupervisorProcess::has_ended(std::uint32_t token) const {
  return std::ranges::find(ended_, token, &Supervised::token) != ended_.end();
}

void SupervisorProcess::send_reports() {
  while (!reports_.empty()) {
    if (::send(control_.get(), &reports_.front(), sizeof(SupervisorReport), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      reports_.clear();  // the server is gone, which reading will tell
      return;
    }
    reports_.pop_front();
  }
}

void SupervisorProcess::kill_all() {
  for (;;) {
    for (const pid_t child : children()) kill_orphan(child);
    pid_t reaped = 0;
    do {
      reaped = ::waitpid(-1, nullptr, WNOHANG);
    } while (reaped > 0);
    if (reaped < 0 && errno == ECHILD) break;
    pollfd signalled{signals_.get(), POLLIN, 0};
    ::poll(&signalled, 1, sweep_interval_ms);
    drain_signals();
  }
  cgroups_.end_all();
}

}  // namespace

int supervisor_main() {
  SupervisorProcess().run();
  return 0;
}

}  // namespace sojourn::worker
