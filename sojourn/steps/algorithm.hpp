#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string>

#include "sojourn/session/session.hpp"
#include "sojourn/steps/info.hpp"
#include "sojourn/steps/recorder.hpp"
#include "sojourn/steps/result.hpp"
#include "sojourn/steps/shared_image.hpp"

// An inspection algorithm that works in steps and keeps in its session what one step found for the next.
namespace sojourn::steps {

// What one step is called with. Valid until the call returns.
struct Shot {
  int step_index;  // from 1
  const std::string& pid;
  const JsonObject& user_params;     // as get_info declares them, with what the caller left out filled in
  const std::string& shared_mem_id;  // "" where there is no picture
  const JsonObject& image_meta;

  // The picture that the caller took. Errors: those of SharedImage::open.
  SharedImage image() const { return SharedImage::open(shared_mem_id, image_meta); }
};

// Order:   setup, then for each step on_step_start, pre_execute, execute, on_step_finish; at last teardown. execute
// is
//          left out where pre_execute failed; pre_execute where the caller asks for execute alone.
// Errors:  what any of them throws fails that step only, and the session's state is then what it was before the step.
//          A StepError says how; a fatal one ends this instance too.
// Threads: one call at a time, though not always on the same thread.
class Algorithm {
 public:
  virtual ~Algorithm() = default;

  virtual void setup() {}     // load models, open cameras
  virtual void teardown() {}  // what setup made; also after a fatal error

  // `context` holds the pid and the trace_id.
  virtual void on_step_start(int /*step_index*/, session::Session&, const JsonObject& /*context*/) {}
  virtual void on_step_finish(int /*step_index*/, session::Session&, const Result&) {}

  // The detection is given up or over. The session's state is cleared after it.
  virtual void reset(session::Session&) {}

  virtual Info get_info() const = 0;

  // What must be known before the shot, such as where to look; never a verdict.
  virtual Result pre_execute(const Shot&, session::Session&) { return Result::done(); }

  // The verdict on the shot.
  virtual Result execute(const Shot& shot, session::Session& session) = 0;

  Logger logger;
  Diagnostics diagnostics;
};

// Shared, for it is the runner's own, or the caller's where lent() lends it.
using AlgorithmFactory = std::function<std::shared_ptr<Algorithm>()>;

// An instance of the caller's own instead of one that the runner makes. After a fatal error its setup is run again.
// Lifetime: it outlives the runner. One runner at a time has it; making it for another meanwhile throws StepError
//           setup_failed.
AlgorithmFactory lent(Algorithm& algorithm);

// A class of static functions, which nobody makes: what it keeps is in the session. It has get_info and execute, and
// what else it needs of Algorithm's functions, all static; one that logs or publishes is an Algorithm.
template <class T>
concept StaticAlgorithm = !std::derived_from<T, Algorithm> && requires(const Shot& shot, session::Session& session) {
  { T::get_info() } -> std::convertible_to<Info>;
  { T::execute(shot, session) } -> std::convertible_to<Result>;
};

template <StaticAlgorithm T>
class OfStaticFunctions final : public Algorithm {
 public:
  // What is there is called, so that one with other parameters is no function that is left out, but does not compile.
  void setup() override {
    if constexpr (requires { &T::setup; }) T::setup();
  }
  void teardown() override {
    if constexpr (requires { &T::teardown; }) T::teardown();
  }
  void on_step_start(int step_index, session::Session& session, const JsonObject& context) override {
    if constexpr (requires { &T::on_step_start; }) T::on_step_start(step_index, session, context);
  }
  void on_step_finish(int step_index, session::Session& session, const Result& result) override {
    if constexpr (requires { &T::on_step_finish; }) T::on_step_finish(step_index, session, result);
  }
  void reset(session::Session& session) override {
    if constexpr (requires { &T::reset; }) T::reset(session);
  }
  Info get_info() const override { return T::get_info(); }
  Result pre_execute(const Shot& shot, session::Session& session) override {
    if constexpr (requires { &T::pre_execute; }) {
      return T::pre_execute(shot, session);
    } else {
      return Result::done();
    }
  }
  Result execute(const Shot& shot, session::Session& session) override { return T::execute(shot, session); }
};

// Makes T, which is an Algorithm or a class of static functions: a factory for whoever runs it.
template <class T>
std::unique_ptr<Algorithm> make_algorithm() {
  if constexpr (std::derived_from<T, Algorithm>) {
    return std::make_unique<T>();
  } else {
    return std::make_unique<OfStaticFunctions<T>>();
  }
}

}  // namespace sojourn::steps
