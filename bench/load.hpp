#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Load on an HTTP server over loopback: N kept-alive connections, each with one request on its way at a time.
//
// One thread with epoll and a reader that knows just enough of HTTP/1.1, so that the client takes as little as it can
// of the machine that it shares with the server.
namespace sojourn::bench {

using Nanoseconds = std::chrono::nanoseconds;

struct LoadPlan {
  std::string host = "127.0.0.1";  // an IPv4 address
  std::uint16_t port = 0;
  std::string method = "POST";
  std::string path = "/";
  std::size_t ids = 0;  // {id} in the path is six hexadecimal digits from 1 to that, others with each request
  std::vector<std::string> headers;  // "Name: value"
  std::size_t connections = 1;
  std::size_t sessions = 0;  // the connections share so many; 0: each has its own
  std::string open_body;  // sent once for each session first; its answer's "session_id" is what {session} stands for
  std::string body;       // sent again and again; {session} and {connection} are replaced
  std::chrono::milliseconds warm_up{1000};
  std::chrono::milliseconds duration{3000};
  std::uint64_t calls = 0;  // ends with so many answers, whatever the duration; 0: by the duration
};

struct LoadReport {
  std::uint64_t calls = 0;   // answered 200 within the duration
  std::uint64_t errors = 0;  // other answers and broken connections, warm-up included
  std::string first_error;
  std::chrono::duration<double> elapsed{};
  std::vector<std::uint32_t> latencies;  // Units: nanoseconds; one for each call, sorted

  double calls_per_second() const;
  double percentile(double fraction) const;  // Units: microseconds; 0 without calls
};

// Opens the sessions, warms up, measures.
// Errors: std::runtime_error when a connection cannot be made or a session cannot be opened.
LoadReport run_load(const LoadPlan& plan);

}  // namespace sojourn::bench
