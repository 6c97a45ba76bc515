#pragma once

#include <optional>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"

// How a flow session behaves.
namespace sojourn::flow {

// What a session is created with. What is not given has its default.
struct Settings {
  JsonObject context;                         // what the session's Context begins with
  std::optional<Milliseconds> timeout;        // of each call from outside; 150 s
  std::optional<bool> end_on_error;           // the first error of any node ends the run; false
  std::optional<std::string> run_identifier;  // the session's id; one is drawn
  std::optional<bool> record;                 // whether calls are recorded at all; true
};

// What holds for a session.
struct Config {
  Milliseconds timeout = Seconds(150);
  bool end_on_error = false;
  std::optional<std::string> run_identifier;
  bool record = true;

  // How long a run that was stopped is waited for before it is left alone, and its caller answered all the same.
  Milliseconds grace = Seconds(2);
};

Config resolve(const Settings& settings);

}  // namespace sojourn::flow
