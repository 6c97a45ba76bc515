#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/sha256.hpp"
#include "sojourn/device/capabilities.hpp"
#include "sojourn/device/link.hpp"
#include "sojourn/device/python_value.hpp"
#include "sojourn/device/traceback.hpp"

// A board as programs use it: run code, get values back as values and failures as errors, deploy functions once and
// call them often.
namespace sojourn::device {

// Where code that is run comes from, so that tracebacks name it, and who hears what it prints.
struct RunOptions {
  SourcePlace place = {"<code>", 1};
  std::function<void(std::string_view)> on_output = nullptr;  // nothing: what eval() and call() print is dropped
};

// Often: by a handle, which is faster and takes some 200 bytes of the board's memory. With bytes: by apply() alone.
enum class Calls { rarely, often, with_bytes };

// A function that a board may be asked to call: `source` defines it by `name`, with a def of its own or otherwise.
struct Function {
  std::string name;
  std::string source;
  SourcePlace place = {"<function>", 1};
  Calls calls = Calls::often;
};

// Threads: one executor. Cancel: as Link::run.
class Board {
 public:
  Board(Executor executor, Clock& clock, Random& random, Address address, LinkOptions options = {});
  Board(Executor executor, Clock& clock, Random& random, std::unique_ptr<Transport> transport,
        LinkOptions options = {});

  // Errors: those of Link::run.
  Async<void> open(Instant deadline) { return link_.open(deadline); }

  // Runs statements and returns what they printed, which is nothing where it is streamed.
  // Errors: app_error for what the code raised (traceback.hpp); those of Link::run.
  Async<std::string> exec(std::string code, Instant deadline, RunOptions options = {});

  // The value of one expression. Errors: as exec().
  Async<Value> eval(std::string expression, Instant deadline, RunOptions options = {});

  // Sees to it that `function` is on the board: sent once, and again after the board started anew or the source
  // changed. Errors: as exec(); invalid_request for a name that is none.
  Async<void> deploy(Function function, Instant deadline);

  // Calls it with `arguments`, deployed before where that is needed, also where the board started anew unnoticed.
  // Errors: as deploy().
  Async<Value> call(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options = {});

  // Likewise, but a board that started anew is worker_lost (has_not_begun()), for what else was there is gone too.
  Async<Value> call_once(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options = {});

  // Likewise for Calls::with_bytes: the cheapest way to send data. Errors: as call_once().
  Async<Value> apply(Function function, std::string bytes, Instant deadline, RunOptions options = {});

  // The app_error that says what `traceback` does, of code that began at `place`, in the host's places.
  Error error_of(Traceback traceback, const SourcePlace& place) const;

  // The expression that call() evaluates.
  static std::string call_code(const Function& function, const std::vector<Value>& arguments);

  // Whether this very source is there.
  bool is_deployed(const Function& function) const { return is_deployed(function.name, sha256(function.source)); }
  bool is_deployed(std::string_view name, const Hash& source_hash) const;

  // Takes the function off the board, if it is there. Errors: as exec().
  Async<void> remove(std::string name, Instant deadline);

  // What the board can do: asked once for each device and firmware, and at a new boot whether it is still the same.
  // Errors: as exec().
  Async<Capabilities> capabilities(Instant deadline);

  // What it could do when it was asked at the same address before; nothing: all is asked.
  void remember(std::optional<Capabilities> known);

  // Errors: those of Link.
  Async<void> soft_reset(Instant deadline) { return link_.soft_reset(deadline); }
  Async<void> restart(Instant deadline) { return link_.restart(deadline); }

  Link& link() { return link_; }
  const Link& link() const { return link_; }

  Async<void> close() { return link_.close(); }

 private:
  struct Deployed {
    Hash hash{};
    std::uint64_t boot = 0;
    SourcePlace place;
    std::optional<std::size_t> handle;
  };

  Async<RunResult> run(Script script, SourcePlace place, Instant deadline);
  Async<Capabilities> probe(std::string_view script, Instant deadline);
  Async<Value> value_of(Script script, RunOptions options, Instant deadline);
  std::size_t handle_for(const std::string& name) const;
  std::map<std::string, SourcePlace> places() const;

  Link link_;
  std::map<std::string, Deployed, std::less<>> deployed_;  // by name
  std::optional<Capabilities> capabilities_;
  std::uint64_t capabilities_boot_ = 0;
};

}  // namespace sojourn::device
