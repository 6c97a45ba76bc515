#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "sojourn/steps/app.hpp"
#include "sojourn/steps/library.hpp"
#include "sojourn/worker/serve.hpp"

// sojourn-algorithm LIBRARY: a worker whose algorithm is in a shared library.

namespace {

using namespace sojourn;

// What stands in for an algorithm that cannot be had, and tells each of its sessions why.
class Refused final : public session::App {
 public:
  explicit Refused(Error reason) : reason_(std::move(reason)) {}  // NOLINT(bugprone-throw-keyword-missing): later

  const session::AppInfo& info() const override { return info_; }
  Async<std::unique_ptr<session::Worker>> open(session::Opening, Instant) override {
    throw Error(reason_);
    co_return nullptr;
  }

 private:
  Error reason_;
  session::AppInfo info_{.name = "refused",
                         .functions = {"info", "pre_execute", "execute", "reset", "detect"},
                         .default_function = "detect"};
};

std::unique_ptr<session::App> load(const char* library) {
  std::string reason;
  try {
    return steps::app(steps::load_algorithm(library));
  } catch (const std::exception& error) {
    reason = error.what();
  }
  return std::make_unique<Refused>(Error(ErrorCode::worker_start_failed, fmt::format("{}: {}", library, reason)));
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::fputs("usage: sojourn-algorithm LIBRARY, as the command of an app.toml\n", stderr);
    return 2;
  }
  return worker::serve(load(words[1]));
}
