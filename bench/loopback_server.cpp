#include "bench/loopback_server.hpp"

#include <fmt/core.h>
#include <signal.h>

#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"

namespace sojourn::bench {

namespace {

http::Response failure(const Error& error) {
  return {.status = info(error.code()).http_status, .body = to_text(error.to_json())};
}

}  // namespace

Async<void> serve_until_stopped(Executor executor, http::Handler handler) {
  const Log log(LogLevel::warning);
  SystemClock clock;
  http::Server server(executor, clock, log, {}, std::move(handler), failure);
  fmt::print("listening on http://127.0.0.1:{}\n", server.listen("127.0.0.1", 0));
  std::fflush(stdout);
  boost::asio::signal_set signals(executor, SIGTERM, SIGINT);
  co_await signals.async_wait(boost::asio::use_awaitable);
  co_await server.close(clock.instant() + Seconds(2));
}

}  // namespace sojourn::bench
