#pragma once

#include <memory>

#include "sojourn/session/app.hpp"
#include "sojourn/steps/algorithm.hpp"

// An algorithm as an app, with the functions info, pre_execute, execute, reset and detect.
//
// A program's main joins it with what serves it: `return worker::serve(steps::app<CoinInspection>());`
namespace sojourn::steps {

// The app whose sessions are each served by an algorithm of their own. Its name and version are get_info's.
//
// A step that fails fails its call: app_error with "error_code", "error" (the code's name), "recoverable" and
// "step_index" in its details, and the session's state as it was before. `detect` makes each step durable as it ends,
// and shows what it has so far as partial output.
//
// Threads: the algorithm runs on a thread of its own, so that pings and log lines pass while it works.
// Cancel:  between the steps of detect. A step that hangs is ended with its process; one that may, should not be
// served
//          inside a server.
// Errors:  what Info::from_json refuses.
std::unique_ptr<session::App> app(AlgorithmFactory factory);

template <class T>
std::unique_ptr<session::App> app() {
  return app(make_algorithm<T>);
}

}  // namespace sojourn::steps
