#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <string>

#include "sojourn/session/app.hpp"

// The app that the benchmarks call: in C++, so that no process stands behind a call.
namespace sojourn::bench {

// increment {key, amount}  adds to one number of the state, as apps/counter does in Python
// fill {bytes, keys}       sets `keys` values of `bytes` bytes in all, different ones each time
// stream {count, bytes}    emits `count` partial outputs of `bytes` bytes
class CounterWorker final : public session::Worker {
 public:
  Async<Json> call(session::CallScope& scope) override {
    const session::CallRequest& request = scope.request();
    const JsonObject& input = request.input.as_object();
    if (request.function == "fill") co_return fill(scope.session().state(), input);
    if (request.function == "stream") co_return co_await stream(scope, input);
    co_return increment(scope.session().state(), input);
  }
  Async<void> close(session::CloseReason, Instant) override { co_return; }
  void kill(const Error&) override {}

 private:
  static Json increment(session::State& state, const JsonObject& input) {
    const std::string key(input.at("key").as_string());
    const std::int64_t previous = state.get(key, 0).to_number<std::int64_t>();
    const std::int64_t current = previous + input.at("amount").to_number<std::int64_t>();
    state.set(key, current);
    return JsonObject{{"key", key}, {"previous", previous}, {"current", current}};
  }

  Json fill(session::State& state, const JsonObject& input) {
    const auto bytes = input.at("bytes").to_number<std::size_t>();
    const auto keys = input.at("keys").to_number<std::size_t>();
    const char letter = static_cast<char>('a' + filled_++ % 26);
    for (std::size_t i = 0; i < keys; ++i) {
      state.set("filled_" + std::to_string(i), Json(std::string(bytes / keys, letter)));
    }
    return filled_;
  }

  static Async<Json> stream(session::CallScope& scope, const JsonObject& input) {
    const auto count = input.at("count").to_number<std::size_t>();
    const std::string text(input.at("bytes").to_number<std::size_t>(), 'x');
    for (std::size_t i = 0; i < count; ++i) {
      scope.emit(Json(text));
      co_await boost::asio::post(boost::asio::use_awaitable);  // lets followers take their turn
    }
    co_return count;
  }

  unsigned filled_ = 0;
};

class CounterApp final : public session::App {
 public:
  const session::AppInfo& info() const override { return info_; }
  Async<std::unique_ptr<session::Worker>> open(session::Opening, Instant) override {
    co_return std::make_unique<CounterWorker>();
  }

 private:
  session::AppInfo info_{.name = "counter",
                         .functions = {"increment", "fill", "stream"},
                         .default_function = "increment",
                         .session_timeout = Seconds(3600),
                         .max_sessions = 200'000,
                         .recover = true};
};

}  // namespace sojourn::bench
