#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sojourn/base/clock.hpp"
#include "sojourn/device/checked_code.hpp"

// One conversation with a board's raw REPL, the prompt of MicroPython that is made for programs.
//
// A pure machine: what arrived and what time it is goes in, what to send and what happened comes out. It finds the
// prompt whatever the board was doing, sends code by raw paste where the board has it and in measured bursts
// otherwise, sends again what arrived damaged (checked_code.hpp), and gives up only after Options::attempts. It never
// sends blank code, which would reset the board.
namespace sojourn::device {

class RawRepl {
 public:
  struct Options {
    Milliseconds poll = Milliseconds(50);             // between attempts to get the prompt; grows to eight times this
    Milliseconds answer_timeout = Milliseconds(400);  // from the last byte of code to the board's first word
    Milliseconds begin_timeout = Milliseconds(3000);  // from there to the beginning of the run
    int attempts = 8;                                 // sends of one run
    std::size_t burst = 4096;                         // bytes sent at once; less where much is damaged
    std::optional<bool> paste = std::nullopt;         // whether the board has raw paste, where that is known
    std::size_t value_bytes = 1u << 20;               // of a value and a traceback; past it the run fails
  };

  // What happened, in order.
  struct Ready {};  // the prompt is there
  struct Output {
    std::string text;  // line ends as the code wrote them; never part of a UTF-8 character
  };
  struct Finished {
    std::string value;  // repr of the value, empty for None and after a failure
    std::string error;  // the traceback, empty for success
    bool begun = true;  // false where the board had not even the room to take the code
  };
  struct Undelivered {};  // the run never began, for the board never had the code whole; it is at its prompt
  struct Rebooted {
    bool begun = false;  // whether a run had begun
  };  // the board started anew: all that was defined on it is gone, and so is a run
  struct Garbled {};  // the board's answer makes no sense, so the run may have been carried out; it is at its prompt
  using Event = std::variant<Ready, Output, Finished, Undelivered, Garbled, Rebooted>;

  RawRepl();
  explicit RawRepl(Options options);

  // Gets the prompt, interrupting what runs, and installs the guard; Ready says when. A run is dropped without a
  // word. `fresh` where the board's memory is not known to be what it was.
  void recover(Instant now, bool fresh);

  // Has `code` run, or what `call` calls; only at the prompt. Ends with Finished, Undelivered, Garbled or Rebooted.
  // Errors: invalid_request for blank code.
  void run(std::string_view code, CodeKind kind, Instant now);
  void run(CheckedCode call, Instant now);

  // Sends Ctrl-C. The run ends with Finished if the board heeds it; one that has not begun ends at once, like
  // recover().
  void interrupt(Instant now);

  // Restarts the interpreter; only at the prompt. Rebooted says when it is done, then the machine is not at the
  // prompt.
  void soft_reset(Instant now);

  void receive(std::string_view bytes, Instant now);

  // Lets time pass; wants to be called at next_tick(), or later.
  void tick(Instant now);
  std::optional<Instant> next_tick() const { return timer_; }

  std::string take_to_send() { return std::exchange(to_send_, {}); }
  std::optional<Event> take_event();
  bool has_event() const { return !events_.empty(); }

  bool at_prompt() const { return state_ == State::prompt; }
  std::optional<bool> has_paste() const { return options_.paste; }
  std::uint64_t damaged() const { return damaged_; }  // sends that had to be repeated
  std::size_t burst() const { return options_.burst; }
  std::size_t paste_window() const { return window_; }          // 0 until a script was pasted
  std::optional<bool> writes_cr_lf() const { return cooked_; }  // nothing until it has the guard

 private:
  enum class State {
    away,      // nothing is known of the board
    seeking,   // asking for the raw prompt
    prompt,    // at it, with the guard in place
    asking,    // whether it has raw paste, and for room
    pasting,   // by raw paste, as far as there is credit
    bursting,  // in bursts
    sent,      // all of the script; the board has not said that it took the line
    taken,     // it has; what was sent has not begun
    running,
    ending,  // the second mark has come: value and traceback follow
    resetting,
  };

  // A run, from run() to its end.
  struct Run {
    CheckedCode call;
    bool begun = false;
    bool interrupted = false;
  };

  void go(State state, std::optional<Instant> timer = std::nullopt);
  void seek(Instant now);
  void start_script(Instant now);
  void start_bursts(Instant now);
  void send_burst(Instant now);
  std::size_t piece_size() const;
  void send_paste(Instant now);
  void send_end(std::string_view answer, Instant now);
  void refused(std::string_view error, Instant now);
  void collect_garbage(Instant now);
  void note_damage();
  void note_success();
  void try_again(Instant now);
  void rebooted();
  void finish(std::string value, std::string error);
  std::string_view script() const;

  // Reads what the state wants of in_; true where that led to another state, in which there may be more to read.
  bool step(Instant now);
  bool read_prompt(Instant now);
  bool read_window(Instant now);
  bool read_credit(Instant now);
  bool read_taken(Instant now);
  bool read_begin(Instant now);
  bool read_output(Instant now);
  bool read_end(Instant now);
  bool read_reboot(Instant now);
  bool shows_friendly_prompt() const;
  void ask_for_raw_mode(Instant now);
  void say(std::string_view raw);

  Options options_;
  std::size_t largest_burst_;
  State state_ = State::away;
  std::optional<Instant> timer_;
  std::string in_;    // what was not read yet
  std::string tail_;  // the last that came, read or not, while code runs
  std::string to_send_;
  std::deque<Event> events_;

  std::optional<Run> run_;
  bool guarded_ = false;     // the board has the guard; until it does, that is the script
  bool collecting_ = false;  // the script is neither, but frees what the board's heap holds for nothing
  bool collected_ = false;   // that was done for this script
  std::size_t at_ = 0;       // how much of the script was sent
  std::size_t window_ = 0;
  std::size_t credit_ = 0;
  std::optional<bool> cooked_;  // the board writes CR LF for LF, known with the guard
  std::string_view answer_;     // what the board says first when it took the line
  int attempt_ = 0;
  int polls_ = 0;
  int clean_ = 0;    // scripts in a row that arrived whole
  double loss_ = 0;  // the share of the last scripts that did not
  bool suspected_ = false;
  std::uint64_t damaged_ = 0;
};

}  // namespace sojourn::device
