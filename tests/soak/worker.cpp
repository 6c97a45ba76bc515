#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "sojourn/base/event.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/worker/serve.hpp"

// What apps/cold/main.py does, in C++.
namespace {

using sojourn::Async;
using sojourn::Json;
using sojourn::JsonObject;
using sojourn::session::CallScope;

JsonObject step(CallScope& scope) {
  const auto n = scope.session().get("n", 0).to_number<std::int64_t>() + 1;
  scope.session().set("n", n);
  return {{"n", n}};
}

class SoakedWorker final : public sojourn::session::Worker {
 public:
  explicit SoakedWorker(sojourn::session::Opening opening) : opening_(std::move(opening)) {}

  Async<Json> call(CallScope& scope) override {
    const std::string& name = scope.request().function;
    if (name == "count") co_return step(scope);
    if (name == "stream") co_return stream(scope);
    if (name == "fail") fail(scope);
    if (name == "until_cancelled") co_return co_await until_cancelled(scope);
    if (name == "deaf") be_deaf(scope);
    if (name == "pause") co_return co_await pause(scope);
    if (name == "copy_file") co_return copy_file(scope);
    if (name == "acquire") co_return co_await acquire(scope);
    scope.end_session();
    co_return step(scope);
  }

  Async<void> close(sojourn::session::CloseReason, sojourn::Instant) override {
    for (; !acquired_.empty(); acquired_.pop_back()) {
      std::filesystem::remove(acquired_.back());
      opening_.events->resource_released(acquired_.back().filename().string());
    }
    co_return;
  }

  void kill(const sojourn::Error&) override {}

 private:
  static Json stream(CallScope& scope) {
    const auto times = scope.request().input.at("times").to_number<int>();
    for (int number = 0; number < times; ++number) {
      scope.emit(JsonObject{{"at", number}});
      scope.emit_delta(JsonObject{{"more", number}});
    }
    return step(scope);
  }

  [[noreturn]] static void fail(CallScope& scope) {
    step(scope);
    fmt::print(stderr, "what is printed becomes an event\n");
    throw sojourn::Error(sojourn::ErrorCode::app_error, "as asked");
  }

  static Async<Json> until_cancelled(CallScope& scope) {
    step(scope);
    scope.emit(JsonObject{{"waiting", true}});
    co_await scope.cancel_wait();
    throw sojourn::Error(sojourn::ErrorCode::cancelled, "as asked");
  }

  [[noreturn]] static void be_deaf(CallScope& scope) {
    scope.emit(JsonObject{{"waiting", true}});
    for (;;) ::pause();
  }

  Async<Json> pause(CallScope& scope) {
    const std::chrono::duration<double> time(scope.request().input.at("seconds").to_number<double>());
    co_await sojourn::sleep_until(clock_, clock_.instant() + std::chrono::duration_cast<sojourn::Microseconds>(time));
    co_return step(scope);
  }

  Json copy_file(CallScope& scope) {
    std::ifstream file(std::string(scope.request().input.at("file").at("path").as_string()), std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    std::ofstream(opening_.folder + "/copy", std::ios::binary) << content;
    JsonObject output = step(scope);
    output["sha256"] = sojourn::to_hex(sojourn::sha256(content));
    output["copy"] = JsonObject{{"file", JsonObject{{"path", "copy"}}}};
    return output;
  }

  Async<Json> acquire(CallScope& scope) {
    JsonObject output = step(scope);
    const std::string id = fmt::format("acquired-{}", output.at("n").as_int64());
    const std::filesystem::path folder = std::filesystem::path(opening_.folder) / id;
    const auto recorded = std::make_shared<sojourn::Completion<bool>>();  // shared with the session
    opening_.events->resource_added(
        {.id = id, .kind = "folder", .cleanup = {{"path", folder.string()}}, .recorded = recorded});
    acquired_.push_back(folder);
    co_await recorded->wait();
    std::filesystem::create_directory(folder);
    co_return output;
  }

  sojourn::session::Opening opening_;
  sojourn::SystemClock clock_;
  std::vector<std::filesystem::path> acquired_;
};

class Soaked final : public sojourn::session::App {
 public:
  explicit Soaked(std::string name) { info_.name = std::move(name); }

  const sojourn::session::AppInfo& info() const override { return info_; }

  Async<std::unique_ptr<sojourn::session::Worker>> open(sojourn::session::Opening opening,
                                                        sojourn::Instant) override {
    co_return std::make_unique<SoakedWorker>(std::move(opening));
  }

 private:
  sojourn::session::AppInfo info_{
      .functions = {"count", "stream", "fail", "until_cancelled", "deaf", "pause", "copy_file", "acquire", "end"},
      .default_function = "count"};
};

}  // namespace

// soak_worker NAME
int main(int count, char** arguments) {
  return sojourn::worker::serve(std::make_unique<Soaked>(count > 1 ? arguments[1] : ""));
}
