#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/device/board.hpp"

// Threads on a board, each a function that goes on while the board serves other calls.
//
// A thread's function gets `beat` as its first argument and calls it often, mostly as `while beat():`. That is the
// thread's heartbeat, and false is its order to end: nothing else ends a thread of MicroPython. What the function
// prints is kept on the board apart from what calls print, and comes with the next check().
namespace sojourn::device {

struct ThreadOptions {
  std::optional<Milliseconds> period;  // the function, without `beat`, is called again and again with so long between
  Milliseconds max_runtime{0};         // then `beat` says that it is to end; 0: never
  Milliseconds restart_after{
      0};  // from a failure to the next attempt, twice as long each time up to a minute; 0: none
  Milliseconds heartbeat_timeout{10'000};  // without a beat for so long the thread is silent
  Milliseconds stop_timeout{2'000};        // for the thread to end when its session does
};

enum class ThreadState {
  running,
  silent,  // is there, and has not called `beat` for too long
  ended,   // its function returned
  failed,  // its function raised, and is not called again
  lost,    // the board started anew since
};

std::string_view to_string(ThreadState state);

struct BackgroundThreadInfo {
  std::string thread_id;
  std::string method_name;
  Time registered_at{};
  std::string session_id;  // "" outside a session
  ThreadState state = ThreadState::running;
  std::uint64_t beats = 0;
  std::uint64_t restarts = 0;  // after failures
  std::optional<Error> error;  // the last that its function raised, in the host's places
  std::string printed;         // the last 4 KiB

  bool is_active() const { return state == ThreadState::running || state == ThreadState::silent; }
};

JsonObject to_json(const BackgroundThreadInfo& thread);

// Threads:  as Board; one operation at a time.
// Lifetime: its board, its clock and the text of its session's id outlive it.
class BoardThreads {
 public:
  BoardThreads(Board& board, Clock& clock, std::string_view session_id = {})
      : board_(board), clock_(clock), session_id_(session_id) {}
  BoardThreads(const BoardThreads&) = delete;
  BoardThreads& operator=(const BoardThreads&) = delete;

  // A name for a thread of `method`, unique here.
  std::string allocate_id(std::string_view method);

  // Deploys `function` and starts it under `id`, which is unique here. Where it is not known whether it began
  // (call_timeout, protocol_error), it is among list() and wants to be stopped; after other failures it is not.
  // Errors: app_error for a board without _thread (details "class": "import"), or one that refuses a thread more;
  //         already_exists; invalid_request for a period or other time that is none; those of Board::deploy.
  Async<void> start(std::string id, Function function, std::vector<Value> arguments, ThreadOptions options,
                    Instant deadline);

  // Asks the board how its threads are, and returns those of which there is news: another state, or a failure.
  // Errors: those of Board::eval.
  Async<std::vector<BackgroundThreadInfo>> check(Instant deadline);

  // Has the thread end and waits until it has; then it is forgotten.
  // Errors: not_found; call_timeout where it goes on, which names it; those of Board::eval. It stays known then.
  Async<void> stop(std::string id, Instant deadline);

  // Starts again, where the board started anew, the threads that ran.
  // Errors: those of start(). One that the board refuses (app_error) stays lost, and the others are started first.
  //         Any other error ends it at once, and what was not begun stays lost.
  Async<void> restore(Instant deadline);
  bool wants_restore() const;

  // Has all threads stand still at their next `beat`, until let_go() or at most until `deadline`.
  // Errors: call_timeout, which names a thread that does not come to its beat; those of Board::eval.
  Async<void> hold(Instant deadline);
  Async<void> let_go(Instant deadline);

  // Takes what this brought off the board. Errors: those of Board::remove.
  Async<void> remove(Instant deadline);

  // Forgets all, without a word to the board.
  void forget() { threads_.clear(); }

  std::vector<BackgroundThreadInfo> list() const;  // oldest first
  const ThreadOptions* options_of(std::string_view id) const;
  bool has(std::string_view id) const { return options_of(id) != nullptr; }
  std::size_t active() const;
  bool empty() const { return threads_.empty(); }

 private:
  struct Thread {
    BackgroundThreadInfo info;
    Function function;
    std::vector<Value> arguments;
    ThreadOptions options;
    std::uint64_t boot = 0;      // in which it was started
    std::uint64_t failures = 0;  // that are known
  };
  struct Report;

  Thread* find(std::string_view id);
  Thread& require(std::string_view id);
  Async<void> bring(Instant deadline);
  Async<void> launch(std::string id, Instant deadline);
  Async<std::vector<std::string>> set_hold(Milliseconds time, Instant deadline);
  Async<std::optional<Report>> ask_to_end(std::string id, Instant deadline);
  bool take(Thread& thread, const Report& report) const;
  bool is_there(const Thread& thread) const { return thread.boot == board_.link().boot(); }
  bool is_to_restore(const Thread& thread) const;
  bool any_there() const;
  static Error goes_on(const Thread& thread);

  Board& board_;
  Clock& clock_;
  std::string_view session_id_;
  std::uint64_t allocated_ = 0;
  std::vector<Thread> threads_;  // oldest first
};

}  // namespace sojourn::device
