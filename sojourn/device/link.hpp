#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/device/latency.hpp"
#include "sojourn/device/raw_repl.hpp"
#include "sojourn/device/transport.hpp"

// The one owner of the wire to a board. What callers want run waits in a queue; each has a deadline, at which its
// caller goes away while the link interrupts the board and finds its prompt again.
namespace sojourn::device {

enum class ConnectionState { disconnected, connecting, connected, executing, interrupting, reconnecting, lost };

std::string_view to_string(ConnectionState state);

// How to try again to open a wire: each wait is `factor` times the last, up to `longest`, less up to a half by
// chance.
struct Reconnection {
  int attempts = 5;
  Milliseconds first = Milliseconds(100);
  int factor = 2;
  Milliseconds longest = Milliseconds(30'000);
};

struct LinkOptions {
  RawRepl::Options repl;
  Reconnection reconnection;
  Milliseconds grace = Milliseconds(1000);           // for a board to heed Ctrl-C, before it is restarted by force
  Milliseconds prompt_timeout = Milliseconds(5000);  // for a board to show its prompt, booting included
  std::size_t queue = 64;                            // runs that wait
  std::size_t output_bytes = 1u << 20;  // of what one run prints, where it is not streamed; the rest is dropped

  // Restarts the board by means of its own, such as a power switch; used instead of the transport's.
  std::function<Async<void>(Instant deadline)> restart = nullptr;
};

struct Script {
  std::string code;
  CodeKind kind = CodeKind::statements;
  std::optional<CheckedCode> call = std::nullopt;             // sent instead, where a handle is called
  std::function<void(std::string_view)> on_output = nullptr;  // gets what is printed, as it comes
};

struct RunResult {
  std::string output;
  bool output_cut = false;
  std::string value;      // the repr; empty for None
  std::string traceback;  // empty unless the code raised
  bool begun = true;      // false where the board had not the room to take the code: then MemoryError is raised
};

// Whether the board was lost before what failed with `error` began to run, so that it may be sent again.
bool has_not_begun(const Error& error);

struct LinkStatistics {
  std::uint64_t runs = 0;
  std::uint64_t timeouts = 0;  // runs whose caller went away before they ended
  std::uint64_t reconnections = 0;
  std::uint64_t restarts = 0;  // by force
  std::uint64_t damaged = 0;   // sends that were repeated
  std::uint64_t resyncs = 0;   // times that the prompt was sought
  std::uint64_t resets = 0;    // times that the board's memory began anew, but for the first
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  Latency run_time;  // of runs that ended, from the first byte to their last

  LinkStatistics& operator+=(const LinkStatistics& more);  // but for run_time
};

enum class LineEnds { lf, cr_lf };

// How the link speaks to the board, as far as it had to find out.
struct ProtocolCapabilities {
  std::optional<bool> raw_paste;
  std::size_t paste_window = 0;       // bytes of credit at a time; 0 until a script was pasted
  std::size_t burst = 0;              // bytes sent at once otherwise; less where much was damaged
  std::optional<LineEnds> line_ends;  // in what it prints
};

// Threads: one executor.
class Link {
 public:
  Link(Executor executor, Clock& clock, Random& random, std::unique_ptr<Transport> transport,
       LinkOptions options = {});
  ~Link();  // asserts that it was closed
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Opens the wire and gets the board's prompt; run() does so too where that is needed.
  // Errors: those of run().
  Async<void> open(Instant deadline);

  // Runs `script` when its turn has come, and returns how it ended; a script that raised is no error here.
  // Errors: call_timeout at `deadline`, when the board is interrupted, and restarted by force where it heeds nothing;
  //         worker_lost when the board was lost or restarted, so that what was defined on it is gone;
  //         connection_failed when it cannot be reached, or damages all that is sent, which then did not run;
  //         protocol_error when its answer was damaged, so that the code may have run; worker_leased; queue_full;
  //         invalid_request for blank code; unavailable after close().
  // Order:  first come, first served.
  // Cancel: as at the deadline.
  Async<RunResult> run(Script script, Instant deadline);

  // Restarts the interpreter, or by force the board. Errors: those of run(); a board that cannot be restarted by
  // force is connection_failed.
  Async<void> soft_reset(Instant deadline);
  Async<void> restart(Instant deadline);

  ConnectionState state() const { return state_; }

  // Grows each time that the board's memory begins anew: what was defined on it under an older number is gone.
  std::uint64_t boot() const { return boot_; }

  LinkStatistics statistics() const;
  // A deadline so far from now, by the link's clock.
  Instant in(Milliseconds time) const { return clock_.instant() + time; }

  std::optional<bool> has_raw_paste() const { return repl_.has_paste(); }
  ProtocolCapabilities protocol_capabilities() const;

  // Interrupts what runs without waiting for the board, fails what waits, and closes the wire. Idempotent.
  Async<void> close();

 private:
  enum class Wish { open, run, soft_reset, restart };

  // Shared by its caller and the queue.
  struct Operation {
    Wish wish;
    Script script;
    Instant deadline;
    Completion<RunResult> done;
    bool abandoned = false;                      // its caller has gone
    std::optional<Instant> sent = std::nullopt;  // at once where a script found the link idle
  };

  Async<RunResult> ask(Wish wish, Script script, Instant deadline);
  Async<void> serve();
  Async<RunResult> perform(Operation& operation);
  void send(Operation& operation);
  Async<RunResult> run_script(Operation& operation);
  Async<void> reset_softly(const Operation& operation);
  Async<void> make_ready(const Operation& operation);
  Async<void> open_wire(const Operation& operation);
  Async<bool> seek_prompt(const Operation* operation);
  Async<void> settle();
  Async<void> restart_by_force();
  Async<std::optional<RawRepl::Event>> next_event(const Operation* operation, Instant until);

  void wake_by(Instant when);
  void expire();

  void start_reading();
  Async<void> stop_reading();
  Async<void> read();
  void flush();
  bool can_restart() const;
  void throw_if_gone(const Operation& operation) const;

  Executor executor_;
  Clock& clock_;
  Random& random_;
  std::unique_ptr<Transport> transport_;
  LinkOptions options_;
  RawRepl repl_;

  ConnectionState state_ = ConnectionState::disconnected;
  std::uint64_t boot_ = 0;
  bool known_ = false;  // the board's memory is what this link left there
  bool wired_ = false;  // the wire is open, as far as is known
  bool closing_ = false;
  std::deque<std::shared_ptr<Operation>> queue_;
  std::shared_ptr<Operation> current_;
  Event changed_;  // something happened, an operation came or was abandoned, the wire was lost, or the link closes
  Instant wake_ = Instant::min();  // when whoever waits for what happens looks at the time anyway
  // For all deadlines: set anew only where one comes earlier, for that costs more than a wake-up now and then.
  std::unique_ptr<Alarm> alarm_;
  Instant alarm_at_ = Instant::max();
  LinkStatistics statistics_;
  TaskGroup serving_;
  TaskGroup reading_;
};

}  // namespace sojourn::device
