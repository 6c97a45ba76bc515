#include "bench/load.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace sojourn::bench {
namespace {

using Steady = std::chrono::steady_clock;

std::runtime_error broken(std::string_view what) {
  return std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

// A descriptor with one owner.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

struct Answer {
  int status = 0;
  std::size_t size = 0;  // of head and body
  std::string_view body;
};

bool same_name(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() && std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x) == y;
         });
}

// Reads the answer at the front of `bytes`; status 0 while it is incomplete.
// Errors: std::runtime_error for one that has no Content-Length.
Answer read_answer(std::string_view bytes) {
  const std::size_t head = bytes.find("\r\n\r\n");
  if (head == std::string_view::npos) return {};
  Answer answer;
  if (bytes.size() < 12 || !bytes.starts_with("HTTP/1.1 ")) throw std::runtime_error("this is no HTTP/1.1 answer");
  std::from_chars(bytes.data() + 9, bytes.data() + 12, answer.status);

  std::size_t length = std::string_view::npos;
  for (std::size_t line = bytes.find("\r\n"); line < head;) {
    line += 2;
    const std::size_t end = bytes.find("\r\n", line);
    const std::string_view field = bytes.substr(line, end - line);
    const std::size_t colon = field.find(':');
    if (colon != std::string_view::npos && same_name(field.substr(0, colon), "content-length")) {
      const char* first = field.data() + field.find_first_not_of(' ', colon + 1);
      std::from_chars(first, field.data() + field.size(), length);
    }
    line = end;
  }
  if (length == std::string_view::npos) throw std::runtime_error("the answer has no Content-Length");
  if (bytes.size() < head + 4 + length) return {};
  answer.size = head + 4 + length;
  answer.body = bytes.substr(head + 4, length);
  return answer;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string session_id_of(std::string_view body) {
  constexpr std::string_view key = "\"session_id\":";
  const std::size_t at = body.find(key);
  const std::size_t first = at == std::string_view::npos ? at : body.find('"', at + key.size());
  if (first == std::string_view::npos) throw std::runtime_error("no session_id in the answer: " + std::string(body));
  return std::string(body.substr(first + 1, body.find('"', first + 1) - first - 1));
}

std::string request_text(const LoadPlan& plan, const std::string& body) {
  std::string text =
      plan.method + " " + plan.path + " HTTP/1.1\r\nHost: " + plan.host + "\r\nContent-Type: application/json\r\n";
  for (const std::string& header : plan.headers) text += header + "\r\n";
  return text + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// One connection, which sends its request anew whenever the answer is there.
class Connection {
 public:
  explicit Connection(const LoadPlan& plan) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(plan.port);
    if (::inet_pton(AF_INET, plan.host.c_str(), &address.sin_addr) != 1) {
      throw std::runtime_error("not an IPv4 address: " + plan.host);
    }
    if (socket_.get() < 0) throw broken("socket");
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr base{};
    std::memcpy(&base, &address, sizeof address);
    if (::connect(socket_.get(), &base, sizeof address) != 0) throw broken("connect to " + plan.host);
  }

  int descriptor() const { return socket_.get(); }
  void request(std::string text, std::size_t ids) {
    id_at_ = ids == 0 ? std::string::npos : text.find(id_mark);
    ids_ = ids;
    if (id_at_ != std::string::npos) text.replace(id_at_, id_mark.size(), "000000");
    request_ = std::move(text);
  }

  // Small requests fit the socket's buffer, so a blocking send does not block.
  void send() {
    if (id_at_ != std::string::npos) draw_id();
    sent_at_ = Steady::now();
    for (std::size_t done = 0; done < request_.size();) {
      const ssize_t n = ::send(socket_.get(), request_.data() + done, request_.size() - done, MSG_NOSIGNAL);
      if (n < 0) throw broken("send");
      done += static_cast<std::size_t>(n);
    }
  }

  // Reads once; the answer if it is complete now. It is valid until the next call of receive().
  Answer receive() {
    received_.erase(0, consumed_);
    consumed_ = 0;
    std::array<char, 16384> buffer;
    const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0) throw broken("recv");
    if (n == 0) throw std::runtime_error("the server closed the connection");
    received_.append(buffer.data(), static_cast<std::size_t>(n));
    const Answer answer = read_answer(received_);
    consumed_ = answer.size;
    return answer;
  }

  Answer wait() {
    for (;;) {
      const Answer answer = receive();
      if (answer.status != 0) return answer;
    }
  }

  Steady::time_point sent_at() const { return sent_at_; }

 private:
  static constexpr std::string_view id_mark = "{id}";

  void draw_id() {
    std::size_t id = std::uniform_int_distribution<std::size_t>(1, ids_)(random_);
    for (std::size_t digit = 6; digit-- > 0; id /= 16) request_[id_at_ + digit] = "0123456789abcdef"[id % 16];
  }

  Descriptor socket_;
  std::string request_;
  std::size_t id_at_ = std::string::npos;  // npos: it is always the same
  std::size_t ids_ = 0;
  std::minstd_rand random_;
  std::string received_;
  std::size_t consumed_ = 0;
  Steady::time_point sent_at_;
};

std::vector<Connection> connect_all(const LoadPlan& plan) {
  std::vector<Connection> connections;
  connections.reserve(plan.connections);
  const std::size_t sessions = plan.sessions == 0 ? plan.connections : plan.sessions;
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < plan.connections; ++i) {
    Connection& connection = connections.emplace_back(plan);
    const std::string number = std::to_string(i);
    if (!plan.open_body.empty() && i < sessions) {
      connection.request(request_text(plan, replaced(plan.open_body, "{connection}", number)), 0);
      connection.send();
      const Answer answer = connection.wait();
      if (answer.status != 200) throw std::runtime_error("opening a session: " + std::string(answer.body));
      ids.push_back(session_id_of(answer.body));
    }
    std::string body = replaced(plan.body, "{connection}", number);
    if (!ids.empty()) body = replaced(std::move(body), "{session}", ids[i % sessions]);
    connection.request(request_text(plan, body), plan.ids);
  }
  return connections;
}

// Counts what is answered from `start` on.
class Measurement {
 public:
  Measurement(Steady::time_point start, LoadReport& report) : start_(start), report_(report) {}

  void take(const Answer& answer, Steady::time_point sent_at) {
    if (answer.status != 200) {
      ++report_.errors;
      if (report_.first_error.empty()) report_.first_error = answer.body;
      return;
    }
    const auto now = Steady::now();
    if (now < start_) return;
    ++report_.calls;
    report_.latencies.push_back(static_cast<std::uint32_t>(Nanoseconds(now - sent_at).count()));
  }

  void take_broken(const std::exception& error) {
    ++report_.errors;
    if (report_.first_error.empty()) report_.first_error = error.what();
  }

 private:
  Steady::time_point start_;
  LoadReport& report_;
};

}  // namespace

double LoadReport::calls_per_second() const {
  return elapsed.count() > 0 ? static_cast<double>(calls) / elapsed.count() : 0;
}

double LoadReport::percentile(double fraction) const {
  if (latencies.empty()) return 0;
  const auto rank = static_cast<std::size_t>(fraction * static_cast<double>(latencies.size()));
  return latencies[std::min(rank, latencies.size() - 1)] / 1000.0;
}

LoadReport run_load(const LoadPlan& plan) {
  std::vector<Connection> connections = connect_all(plan);
  const Descriptor poll(::epoll_create1(EPOLL_CLOEXEC));
  if (poll.get() < 0) throw broken("epoll_create1");
  for (std::size_t i = 0; i < connections.size(); ++i) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.u64 = i;
    if (::epoll_ctl(poll.get(), EPOLL_CTL_ADD, connections[i].descriptor(), &interest) != 0)
      throw broken("epoll_ctl");
  }

  LoadReport report;
  const auto start = Steady::now() + plan.warm_up;
  const auto end = start + plan.duration;
  Measurement measurement(start, report);
  std::size_t alive = connections.size();
  for (Connection& connection : connections) connection.send();
  std::array<epoll_event, 256> ready;
  while (alive > 0 && (plan.calls > 0 ? report.calls + report.errors < plan.calls : Steady::now() < end)) {
    const int count = ::epoll_wait(poll.get(), ready.data(), ready.size(), 100);
    for (int i = 0; i < count; ++i) {
      Connection& connection = connections[ready[static_cast<std::size_t>(i)].data.u64];
      try {
        const Answer answer = connection.receive();
        if (answer.status == 0) continue;
        measurement.take(answer, connection.sent_at());
        connection.send();
      } catch (const std::exception& error) {
        measurement.take_broken(error);
        ::epoll_ctl(poll.get(), EPOLL_CTL_DEL, connection.descriptor(), nullptr);
        --alive;
      }
    }
  }
  report.elapsed = Steady::now() - start;
  std::ranges::sort(report.latencies);
  return report;
}

}  // namespace sojourn::bench
