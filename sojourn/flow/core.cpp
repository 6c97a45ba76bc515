#include "sojourn/flow/core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::flow {

namespace {

// It becomes part of a file's name.
bool is_safe(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

std::string id_of(const Config& config, Time now) {
  SystemRandom random;
  if (!config.run_identifier) return new_session_id(now, random);
  const std::string& id = *config.run_identifier;
  if (id.empty() || id.size() > limits::session_id_bytes || id.front() == '.' || !std::ranges::all_of(id, is_safe)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("run_identifier \"{}\": up to {} letters, digits, '_', '-' or '.', and not '.' first",
                            to_valid_utf8(id), limits::session_id_bytes));
  }
  return id;
}

}  // namespace

Core::Core(Strategy& run_on, Clock* given_clock, Settings settings)
    : strategy(run_on),
      clock(given_clock == nullptr ? machine_clock : *given_clock),
      config(resolve(settings)),
      started(clock.now()),
      id(id_of(config, started)),
      context(std::move(settings.context)) {}

void Core::ended(const std::shared_ptr<Run>& run) {
  std::vector<std::function<void()>> woken;
  {
    const std::scoped_lock lock(mutex);
    runs.erase(run);
    if (runs.empty()) woken.swap(waiting);
  }
  changed.notify_all();
  for (const auto& wake : woken) wake();
}

void Core::when_idle(std::function<void()> wake) {
  {
    const std::scoped_lock lock(mutex);
    if (!runs.empty()) {
      waiting.push_back(std::move(wake));
      return;
    }
  }
  wake();
}

Run::Run(std::shared_ptr<Core> in, Instant until)
    : core(std::move(in)), deadline(until), root(Job::create(core->strategy.new_lane(), nullptr)) {}

void Run::stop(Error cause) {
  {
    const std::scoped_lock lock(mutex_);
    if (cause_) return;
    cause_ = std::move(cause);
  }
  root->cancel();
}

std::optional<Error> Run::cause() const {
  const std::scoped_lock lock(mutex_);
  return cause_;
}

}  // namespace sojourn::flow
