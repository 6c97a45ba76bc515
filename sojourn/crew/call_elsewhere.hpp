#pragma once

#include <memory>
#include <optional>

#include "sojourn/flow/isolated.hpp"
#include "sojourn/session/app.hpp"

// One call in one process of a crew.
namespace sojourn::crew {

// A process, with what it tells beside its calls: what it writes goes where this process writes.
// Lifetime: until the worker is closed.
class CrewProcess : public session::WorkerEvents {
 public:
  void log(LogLevel level, std::string_view stream, std::string_view message, JsonObject fields) override;
  void resource_added(session::ResourceNote) override {}
  void resource_released(std::string_view) override {}

  std::unique_ptr<session::Worker> worker;
  bool is_usable = true;  // for a further call
};

// What came of a call.
struct Came {
  Json output;
  std::optional<Error> failure = std::nullopt;
  bool is_stopped = false;  // its caller was told to stop, so it is not made again
};

// Runs `call` in `process`.
// Cancel: asks the node to stop, kills the process where it has not after `patience`, and returns once it has.
Async<Came> call_in(CrewProcess& process, Clock& clock, Milliseconds patience, const flow::IsolatedCall& call);

}  // namespace sojourn::crew
