#include "sojourn/worker/fork_parent.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "sojourn/worker/fork_messages.hpp"
#include "sojourn/worker/packet.hpp"
#include "sojourn/worker/supervisor_messages.hpp"
#include "sojourn/worker/worker_users.hpp"

namespace sojourn::worker {

namespace {

namespace fs = std::filesystem;

struct Request {
  std::uint64_t n = 0;
  uid_t user = 0;
  PassedDescriptors descriptors;
};

// Ends this process when the server is gone.
Request next_request() {
  Request request;
  std::vector<char> room(fork_message_bytes);
  const ssize_t got = receive_packet(passed_descriptor, room, request.descriptors, 0);
  if (got <= 0) ::_exit(0);
  const ForkMessage asked = read_fork_message(parse_json_object({room.data(), static_cast<std::size_t>(got)}));
  request.n = asked.n.value_or(0);
  request.user = asked.user;
  return request;
}

void say(const std::string& message) {
  send_packet(passed_descriptor, message);
}

void refuse_threads() {
  std::string names;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    const std::string id = task.path().filename().string();
    if (id == std::to_string(::getpid())) continue;
    std::string name;
    std::ifstream file(task.path() / "comm");
    std::getline(file, name);
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", name, id);
  }
  if (names.empty()) return;
  throw Error(ErrorCode::worker_start_failed, fmt::format("preload left threads: {}; a fork would lack them", names));
}

// The number stays taken, since the app may close it: it must not come to mean another file.
void cover_descriptors(int kept) {
  const int nothing = ::open("/dev/null", O_PATH | O_CLOEXEC);
  std::vector<int> others;
  std::error_code error;
  for (fs::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end; entry.increment(error)) {
    others.push_back(std::stoi(entry->path().filename().string()));
  }
  for (const int number : others) {
    if (number <= passed_descriptor || number == kept || number == nothing) continue;
    if (::fcntl(number, F_GETFD) >= 0) ::dup3(nothing, number, O_CLOEXEC);
  }
  ::close(nothing);
}

void die_with(pid_t supervisor) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != supervisor) ::_exit(1);
}

void become_own_process(int kept, pid_t between, pid_t supervisor) {
  ::setsid();
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  cover_descriptors(kept);
  while (::getppid() == between) ::usleep(500);
  die_with(supervisor);
}

// Only once the server says hello, since until then it may not have been limited yet.
void become_worker_of(uid_t user, pid_t supervisor) {
  char first = 0;
  if (::recv(passed_descriptor, &first, 1, MSG_PEEK) != 1 || !become(user)) ::_exit(1);
  // Becoming another user forgot both.
  ::prctl(PR_SET_DUMPABLE, 1);
  die_with(supervisor);
}

void take_session(const Descriptor& taking, pid_t supervisor) {
  const Request request = next_request();
  say(forked_message(request.n, ::getpid()));
  for (std::size_t i = 0; const int target : {passed_descriptor, STDOUT_FILENO, STDERR_FILENO}) {
    ::dup2(request.descriptors[i++].get(), target);
  }
  [[maybe_unused]] const ssize_t written = ::write(taking.get(), ".", 1);
  if (request.user != 0) become_worker_of(request.user, supervisor);
}

// In the blank the id of the process between it and the parent; 0 in the parent, or an errno below 0.
pid_t fork_blank() {
  const pid_t between = ::fork();
  if (between < 0) return -errno;
  if (between == 0) {
    const pid_t self = ::getpid();
    const pid_t blank = ::fork();
    if (blank != 0) ::_exit(blank < 0 ? errno : 0);
    return self;
  }
  int status = 0;
  while (::waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? -WEXITSTATUS(status) : 0;
}

// Returns when the blank was taken, or died. False when the server is gone.
bool wait_for_taken(const Descriptor& taken) {
  std::array<pollfd, 2> polled{pollfd{taken.get(), POLLIN, 0}, pollfd{passed_descriptor, 0, 0}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
  if (polled[1].revents != 0) return false;
  char byte = 0;
  if (::read(taken.get(), &byte, 1) != 1) say(failed_message());  // it may have died of a request
  return true;
}

}  // namespace

bool is_fork_parent() {
  return std::getenv(prefork_variable) != nullptr;
}

bool fork_workers(const std::function<void()>& preload) {
  ::unsetenv(prefork_variable);
  ::fcntl(passed_descriptor, F_SETFD, FD_CLOEXEC);
  const pid_t supervisor = ::getppid();
  try {
    if (preload) preload();
    refuse_threads();
  } catch (...) {
    say(failed_message(to_error(std::current_exception())));
    return false;
  }
  say(preloaded_message());
  for (bool asked = false;;) {
    std::fflush(nullptr);
    std::array<int, 2> ends{-1, -1};
    const int no_pipe = ::pipe2(ends.data(), O_CLOEXEC) == 0 ? 0 : errno;
    const Descriptor taken(ends[0]);
    Descriptor taking(ends[1]);
    const pid_t between = no_pipe == 0 ? fork_blank() : -no_pipe;
    if (between > 0) {
      become_own_process(taking.get(), between, supervisor);
      take_session(taking, supervisor);
      return true;
    }
    if (between == 0) {
      asked = false;
      taking.reset();
      if (!wait_for_taken(taken)) return false;
    } else if (std::exchange(asked, !asked)) {
      say(failed_message(next_request().n, -between));
    } else {
      pollfd asking{passed_descriptor, POLLIN, 0};
      ::poll(&asking, 1, -1);
    }
  }
}

}  // namespace sojourn::worker
