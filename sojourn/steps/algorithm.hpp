#pragma once

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

using AlgorithmFactory = std::function<std::unique_ptr<Algorithm>()>;

}  // namespace sojourn::steps
