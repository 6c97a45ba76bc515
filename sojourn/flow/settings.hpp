#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/loop.hpp"

// How a flow session behaves, and where that is said: in its constructor, else by set_config(), else in the
// environment, else in a configuration file, else by default.
namespace sojourn::flow {

class IsolatedCalls;

// What a session logs: everything; from info on; from warning on; nothing.
enum class LoggingSetting { verbose, regular, quiet, none };

// "VERBOSE", "REGULAR", "QUIET", "NONE".
std::string_view to_string(LoggingSetting setting);

// What is called with each item that a node broadcasts: a function or a coroutine. It runs on a thread of its own.
class BroadcastCallback {
 public:
  template <class F>
    requires std::is_invocable_v<const F&, Json>
  BroadcastCallback(F function) {  // NOLINT: a function is a callback
    if constexpr (std::is_same_v<std::invoke_result_t<const F&, Json>, Async<void>>) {
      call_ = [function = std::move(function)](Loop& loop, const Json& item) { loop.run(function(item)); };
    } else {
      call_ = [function = std::move(function)](Loop&, const Json& item) { function(item); };
    }
  }

  void operator()(Loop& loop, const Json& item) const { call_(loop, item); }

 private:
  std::function<void(Loop&, const Json&)> call_;
};

// What is called once with the session's payload, JSON. What it throws is logged.
using PayloadCallback = std::function<void(const std::string& payload)>;

// What is said in one place; what is not given there is looked for in the next.
struct Settings {
  JsonObject context;                   // what the session's Context begins with; joined key by key
  std::optional<Milliseconds> timeout;  // of each call from outside
  std::optional<bool> end_on_error;     // the first error of any node ends the run
  std::optional<LoggingSetting> logging_setting;
  std::optional<std::filesystem::path> log_file;
  std::optional<BroadcastCallback> broadcast_callback;
  PayloadCallback payload_callback;           // called with the payload when the session is closed
  std::optional<std::string> run_identifier;  // the session's id
  std::optional<bool> prompt_injection;       // messages to models are filled in from the context
  std::optional<bool> save_state;             // the session is saved when it is closed, and its events as they come
  std::optional<std::string> name;            // of the session, for its saved state
  std::optional<std::string> flow_name;       // of the flow; names the saved file before `name` does
  std::optional<Milliseconds> grace;          // how long what was stopped is waited for
  std::optional<bool> record;                 // whether calls are recorded at all
  IsolatedCalls* isolated = nullptr;          // runs isolated nodes; outlives the session
};

// What holds for a session, with the defaults.
struct Config {
  JsonObject context;
  Milliseconds timeout = Seconds(150);
  bool end_on_error = false;
  LoggingSetting logging_setting = LoggingSetting::regular;
  std::optional<std::filesystem::path> log_file;
  std::optional<BroadcastCallback> broadcast_callback;
  PayloadCallback payload_callback;
  std::optional<std::string> run_identifier;
  bool prompt_injection = true;
  bool save_state = true;
  std::optional<std::string> name;
  std::optional<std::string> flow_name;
  bool record = true;
  IsolatedCalls* isolated = nullptr;

  // How long a run that was stopped, or a subscriber that is to be drained, is waited for before it is left alone.
  Milliseconds grace = Seconds(2);
};

// Replaces what is given of the settings of this process, for sessions that are created later. Threads: safe.
void set_config(const Settings& settings);
void clear_config();

// Where settings come from besides the constructor.
struct ConfigSources {
  Settings process;  // set_config()
  std::function<std::optional<std::string>(const std::string& name)> environment;
  std::optional<std::filesystem::path> file;  // TOML; it may be missing
};

// Those of this process: SOJOURN_FLOW_TIMEOUT and so on, and the file that SOJOURN_FLOW_CONFIG names, or
// sojourn-flow.toml in the working directory.
ConfigSources config_sources();

// Errors: config_invalid, naming the place and the setting.
Config resolve(const Settings& settings, const ConfigSources& sources);

}  // namespace sojourn::flow
