// A whole Sojourn server with one app in C++, `counter`, to measure what Sojourn itself costs: no process stands
// behind a call. Its call does what apps/counter does in Python.
#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "sojourn/server/serve.hpp"

namespace {

using namespace sojourn;

class CounterWorker final : public session::Worker {
 public:
  Async<Json> call(session::CallScope& scope) override {
    const JsonObject& input = scope.request().input.as_object();
    const std::string key(input.at("key").as_string());
    session::State& state = scope.session().state();
    const std::int64_t previous = state.get(key, 0).to_number<std::int64_t>();
    const std::int64_t current = previous + input.at("amount").to_number<std::int64_t>();
    state.set(key, current);
    co_return JsonObject{{"key", key}, {"previous", previous}, {"current", current}};
  }
  Async<void> close(session::CloseReason, Instant) override { co_return; }
  void kill(const Error&) override {}
};

class CounterApp final : public session::App {
 public:
  const session::AppInfo& info() const override { return info_; }
  Async<std::unique_ptr<session::Worker>> open(session::Opening, Instant) override {
    co_return std::make_unique<CounterWorker>();
  }

 private:
  session::AppInfo info_{.name = "counter",
                         .functions = {"increment"},
                         .default_function = "increment",
                         .session_timeout = Seconds(3600),
                         .max_sessions = 200'000,
                         .recover = true};
};

}  // namespace

int main(int count, char** words) {
  CLI::App line("A Sojourn server with an app in C++");
  std::string listen = "127.0.0.1:0";
  std::string data;
  line.add_option("--listen", listen);
  line.add_option("--data", data)->required();
  CLI11_PARSE(line, count, words);

  const auto colon = listen.rfind(':');
  server::serve(
      {.host = listen.substr(0, colon),
       .port = static_cast<std::uint16_t>(std::stoi(listen.substr(colon + 1))),
       .data = data,
       .apps = "",
       .own_apps = {std::make_shared<CounterApp>()},
       .on_ready = [](const std::string& address) { std::cout << "listening on " << address << std::endl; }},
      Log(LogLevel::warning));
  return 0;
}
