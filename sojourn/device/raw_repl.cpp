#include "sojourn/device/raw_repl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

constexpr std::string_view seek_bytes = "\x03\x03\x01";  // interrupt twice, then raw mode
constexpr std::string_view ask_paste = "\x05\x41\x01";
constexpr std::string_view raw_banner = "raw REPL; CTRL-B to exit\r\n>";
constexpr char end_byte = '\x04';
constexpr std::string_view leave_raw = "\x02";
constexpr std::string_view collect_script = "__import__('gc').collect()";
constexpr std::string_view end_of_answer = "\x04>";

constexpr std::size_t smallest_burst = 16;
constexpr std::size_t bytes_per_millisecond = 16;  // between bursts: what the slowest board was seen to keep up with
constexpr std::size_t noise_bytes = 4096;          // kept of what a board says before it answers
constexpr std::size_t tail_bytes = 256;            // holds a banner
constexpr int clean_before_growing = 64;
constexpr int most_questions = 6;     // whether a board that seems to be at its prompt is there
constexpr int sends_at_once = 3;      // of a script, before it goes in shorter bursts
constexpr double loss_weight = 0.05;  // of the newest script
constexpr double most_loss = 0.4;     // past it less is sent at once; below, sending again costs less than pauses

void keep_last(std::string& text, std::size_t bytes) {
  if (text.size() > bytes) text.erase(0, text.size() - bytes);
}

// The longest end of `text` that `mark` begins with.
std::size_t partial_mark(std::string_view text, std::string_view mark) {
  for (std::size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
    if (mark.starts_with(text.substr(text.size() - length))) return length;
  }
  return 0;
}

// The bytes at the end of `text` that begin a UTF-8 character and do not complete it.
std::size_t partial_character(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

std::string without_cr(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' || i + 1 >= text.size() || text[i + 1] != '\n') out += text[i];
  }
  return out;
}

// Whether what was called, the guard or one of its handles, was not found by its name. Another name is a damaged one.
bool lacks_callee(std::string_view error, std::string_view call) {
  const std::string name = fmt::format("'{}'", call.substr(0, call.find('(')));
  return error.find("NameError") != error.npos && error.find(name) != error.npos;
}

// Where there are threads the value ends with a mark, and what they write may come anywhere after it: before the
// prompt, and where a traceback would be.
bool is_beside_threads(std::string_view answer) {
  return answer.substr(0, answer.find(end_byte)).find(begin_mark) != answer.npos;
}

// Where the last of an answer's bytes 04 is, from `at` on.
std::size_t find_answer_end(std::string_view text, std::size_t at) {
  const std::size_t end = text.find(end_of_answer, at);
  if (end != text.npos || !is_beside_threads(text) || text.find(raw_banner, at) != text.npos) return end;
  const std::size_t last = text.rfind(end_byte);
  const bool is_end = last != text.npos && last >= at && text.find(end_of_answer.back(), last) != text.npos;
  return is_end ? last : text.npos;
}

std::string traceback_of(std::string_view answer, std::string_view text) {
  const bool is_noise = is_beside_threads(answer) && text.find("Traceback (") == text.npos;
  return is_noise ? std::string() : without_cr(text);
}

// What follows the end mark: a repr and a line end, or the latter alone where the code raised.
std::string value_of(std::string_view text) {
  text = text.substr(0, text.find(begin_mark));  // where there are threads: the mark that ends it
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return std::string(text == "None" ? "" : text);
}

// Whether the board had not the room to read the code, of which nothing ran then: the last frame, which is of no
// function, is called by the guard, or by what it calls with the code.
bool is_unread(std::string_view error) {
  if (error.find("\nMemoryError") == error.npos) return false;
  const std::size_t last = error.rfind("\n  File \"");
  const std::size_t before = last == error.npos || last == 0 ? error.npos : error.rfind("  File \"", last - 1);
  if (before == error.npos || error.find(", in ", last) != error.npos) return false;
  const std::string_view caller = error.substr(before, last - before);
  return caller.ends_with(", in _j") || caller.starts_with("  File \"<stdin>\"");
}

bool is_blank(std::string_view code) {
  return code.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

}  // namespace

RawRepl::RawRepl() : RawRepl(Options{}) {}

RawRepl::RawRepl(Options options) : options_(options), largest_burst_(std::max(options.burst, smallest_burst)) {
  options_.burst = largest_burst_;
}

void RawRepl::recover(Instant now, bool fresh) {
  if (fresh) guarded_ = false;
  run_.reset();
  attempt_ = 0;
  polls_ = 0;
  collecting_ = false;
  collected_ = false;
  in_.clear();
  seek(now);
}

void RawRepl::run(std::string_view code, CodeKind kind, Instant now) {
  if (is_blank(code)) throw Error(ErrorCode::invalid_request, "there is no code to run: it is blank");
  run(checked_code(code, kind), now);
}

void RawRepl::run(CheckedCode call, Instant now) {
  assert(at_prompt());
  run_.emplace(std::move(call));
  attempt_ = 0;
  collected_ = false;
  in_.clear();
  start_script(now);
}

void RawRepl::interrupt(Instant now) {
  if (state_ == State::running || state_ == State::ending) {
    run_->interrupted = true;
    to_send_ += '\x03';
  } else if (state_ != State::prompt && state_ != State::away) {
    recover(now, false);
  }
}

void RawRepl::soft_reset(Instant now) {
  assert(at_prompt());
  in_.clear();
  tail_.clear();
  to_send_ += end_byte;
  go(State::resetting, now + options_.begin_timeout);
}

void RawRepl::receive(std::string_view bytes, Instant now) {
  if (state_ == State::away || state_ == State::prompt) return;  // nobody asked: the noise of a thread, or of a boot
  in_ += bytes;
  if (state_ == State::running || state_ == State::ending || state_ == State::resetting) {
    tail_ += bytes;
    keep_last(tail_, std::max(tail_bytes, bytes.size()));
  }
  while (step(now)) {
  }
  keep_last(tail_, tail_bytes);
}

void RawRepl::tick(Instant now) {
  if (!timer_ || now < *timer_) return;
  switch (state_) {
    case State::bursting:
      send_burst(now);
      break;
    case State::resetting:
      rebooted();
      break;
    case State::asking:
      options_.paste = false;  // it hung, so it is not asked again
      seek(now);
      break;
    case State::pasting:
    case State::sent:
    case State::taken:
      // It took the line and said something, so this may be a run whose mark was damaged.
      if (state_ == State::taken && guarded_ && !collecting_ && !in_.empty()) run_->begun = true;
      note_damage();
      polls_ = 0;
      seek(now);
      break;
    case State::running:
    case State::ending:
      ask_for_raw_mode(now);
      break;
    default:
      seek(now);
      break;
  }
}

std::optional<RawRepl::Event> RawRepl::take_event() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void RawRepl::go(State state, std::optional<Instant> timer) {
  state_ = state;
  timer_ = timer;
}

void RawRepl::seek(Instant now) {
  to_send_ += seek_bytes;
  go(State::seeking, now + options_.poll * (1 << std::min(polls_, 3)));
  ++polls_;
}

std::string_view RawRepl::script() const {
  if (collecting_) return collect_script;
  return guarded_ ? std::string_view(run_->call.text) : guard_script();
}

void RawRepl::start_script(Instant now) {
  at_ = 0;
  if (script().size() > piece_size() && options_.paste.value_or(true)) {
    to_send_ += ask_paste;
    go(State::asking, now + options_.answer_timeout);
  } else {
    start_bursts(now);
  }
}

void RawRepl::start_bursts(Instant now) {
  go(State::bursting);
  send_burst(now);
}

void RawRepl::send_burst(Instant now) {
  const std::string_view piece = script().substr(at_, piece_size());
  to_send_ += piece;
  at_ += piece.size();
  if (at_ == script().size()) {
    send_end("OK", now);
  } else {
    timer_ = now + Milliseconds(std::max<std::size_t>(1, piece.size() / bytes_per_millisecond));
  }
}

void RawRepl::send_paste(Instant now) {
  const std::string_view piece = script().substr(at_, credit_);
  to_send_ += piece;
  at_ += piece.size();
  credit_ -= piece.size();
  if (at_ == script().size()) {
    send_end("\x04", now);
  } else {
    go(State::pasting, now + options_.answer_timeout);
  }
}

void RawRepl::send_end(std::string_view answer, Instant now) {
  to_send_ += end_byte;
  answer_ = answer;
  go(State::sent, now + options_.answer_timeout);
}

// The board is at its prompt and did not begin the script.
void RawRepl::refused(std::string_view error, Instant now) {
  if (guarded_ && lacks_callee(error, run_->call.text)) return rebooted();
  if (error.find("MemoryError") != error.npos) {
    if (collected_) return finish({}, without_cr(error));
    return collect_garbage(now);
  }
  note_damage();
  try_again(now);
}

// A board collects its garbage only when its heap is full, and then around what fills it: the input line, which in
// raw mode keeps the room of the longest, and what was made of it. So it is freed of both, and has the script once
// more.
void RawRepl::collect_garbage(Instant now) {
  collecting_ = true;
  collected_ = true;
  polls_ = 0;
  to_send_ += leave_raw;
  seek(now);
}

// What was damaged is sent again in shorter bursts; what is to come only where much is damaged.
void RawRepl::note_damage() {
  ++damaged_;
  ++attempt_;
  clean_ = 0;
  loss_ += loss_weight * (1 - loss_);
  if (loss_ < most_loss) return;
  loss_ = 0;
  options_.burst = std::max(smallest_burst, options_.burst / 2);
}

void RawRepl::note_success() {
  attempt_ = 0;
  loss_ -= loss_weight * loss_;
  if (++clean_ % clean_before_growing == 0) options_.burst = std::min(options_.burst * 2, largest_burst_);
}

// What is lost by chance is sent again as it was, for pauses cost more; what is lost again and again in ever shorter
// bursts.
std::size_t RawRepl::piece_size() const {
  if (attempt_ < sends_at_once) return options_.burst;
  return std::max(smallest_burst,
                  std::min(options_.burst, script().size()) >> std::min(attempt_ - sends_at_once + 1, 8));
}

void RawRepl::try_again(Instant now) {
  if (attempt_ < options_.attempts) return start_script(now);
  run_.reset();
  attempt_ = 0;
  go(guarded_ ? State::prompt : State::away);
  events_.emplace_back(Undelivered{});
}

void RawRepl::rebooted() {
  const bool begun = run_ && run_->begun;
  guarded_ = false;
  run_.reset();
  go(State::away);
  events_.emplace_back(Rebooted{begun});
}

void RawRepl::finish(std::string value, std::string error) {
  const bool begun = run_ && run_->begun;
  run_.reset();
  go(guarded_ ? State::prompt : State::away);
  note_success();
  events_.emplace_back(Finished{std::move(value), std::move(error), begun});
}

bool RawRepl::step(Instant now) {
  switch (state_) {
    case State::seeking:
      return read_prompt(now);
    case State::asking:
      return read_window(now);
    case State::pasting:
      return read_credit(now);
    case State::sent:
      return read_taken(now);
    case State::taken:
      return read_begin(now);
    case State::running:
      return read_output(now);
    case State::ending:
      return read_end(now);
    case State::resetting:
      return read_reboot(now);
    case State::away:
    case State::prompt:
    case State::bursting:
      break;
  }
  in_.clear();
  return false;
}

bool RawRepl::read_prompt(Instant now) {
  // The board may have been slow, not deaf: what it began and this interrupted must not run twice.
  if (run_ && guarded_ && in_.find(begin_mark) != in_.npos) run_->begun = true;
  const std::size_t banner = in_.find(raw_banner);
  if (banner == in_.npos) {
    keep_last(in_, noise_bytes);
    return false;
  }
  in_.erase(0, banner + raw_banner.size());
  polls_ = 0;
  if (run_ && run_->begun) {
    finish({}, "KeyboardInterrupt: the board was silent for so long that it was interrupted");
  } else if (!guarded_ || run_) {
    try_again(now);
  } else {
    go(State::prompt);
    events_.emplace_back(Ready{});
  }
  return true;
}

bool RawRepl::read_window(Instant now) {
  if (const std::size_t yes = in_.find("R\x01"); yes != in_.npos) {
    if (in_.size() < yes + 4) return false;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(in_[yes + i]); };
    window_ = byte(2) + 256u * byte(3);
    credit_ = window_;
    in_.erase(0, yes + 4);
    options_.paste = window_ > 0;
    if (window_ > 0) {
      send_paste(now);
    } else {
      seek(now);
    }
    return true;
  }
  const std::size_t no = in_.find(std::string_view("R\0>", 3));
  const std::size_t old = in_.find(raw_banner);  // before 1.14 it only enters raw mode again
  if (no == in_.npos && old == in_.npos) {
    keep_last(in_, noise_bytes);
    return false;
  }
  options_.paste = false;
  in_.clear();
  start_bursts(now);
  return true;
}

bool RawRepl::read_credit(Instant now) {
  for (std::size_t i = 0; i < in_.size(); ++i) {
    if (in_[i] == '\x01') {
      credit_ += window_;
    } else if (in_[i] == end_byte) {  // it takes no more: the code does not compile, or there is no room
      in_.erase(0, i + 1);
      to_send_ += end_byte;
      go(State::taken, now + options_.begin_timeout);
      return true;
    }
  }
  in_.clear();
  if (credit_ == 0) return false;
  send_paste(now);
  return true;
}

bool RawRepl::read_taken(Instant now) {
  const std::size_t answer = in_.find(answer_);
  if (answer == in_.npos) {
    keep_last(in_, noise_bytes);
    return false;
  }
  in_.erase(0, answer + answer_.size());
  go(State::taken, now + options_.begin_timeout);
  return true;
}

bool RawRepl::read_begin(Instant now) {
  if (const std::size_t begin = guarded_ && !collecting_ ? in_.find(begin_mark) : in_.npos; begin != in_.npos) {
    run_->begun = true;
    in_.erase(0, begin + begin_mark.size());
    tail_ = in_;
    suspected_ = false;
    go(State::running);
    return true;
  }
  const std::size_t first = in_.find(end_byte);
  const std::size_t second = first == in_.npos ? first : in_.find(end_of_answer, first + 1);
  if (second == in_.npos) {
    keep_last(in_, noise_bytes);
    return false;
  }
  const std::string printed = in_.substr(0, first);
  const std::string error = in_.substr(first + 1, second - first - 1);
  in_.erase(0, second + end_of_answer.size());
  if (std::exchange(collecting_, false)) {
    start_script(now);
    return true;
  }
  if (guarded_ && !printed.empty()) {  // it says nothing before it begins, so this may be what is left of a run
    run_.reset();
    go(State::prompt);
    events_.emplace_back(Garbled{});
    return true;
  }
  const std::size_t receipt = guarded_ || !error.empty() ? printed.npos : printed.find(guard_receipt());
  if (receipt == printed.npos) {
    refused(error, now);
    return true;
  }
  guarded_ = true;
  cooked_ = printed.substr(receipt + guard_receipt().size()).starts_with('\r');
  if (run_) {
    start_script(now);
  } else {
    go(State::prompt);
    events_.emplace_back(Ready{});
  }
  return true;
}

bool RawRepl::read_output(Instant now) {
  const std::size_t mark = in_.find(run_->call.end_mark);
  if (mark != in_.npos) {
    say(std::string_view(in_).substr(0, mark));
    in_.erase(0, mark + run_->call.end_mark.size());
    go(State::ending);
    return true;
  }
  if (run_->interrupted && in_.ends_with(end_of_answer)) {  // an interrupt inside the guard leaves out its last mark
    const std::size_t last = in_.size() - end_of_answer.size();
    const std::size_t first = last == 0 ? in_.npos : in_.rfind(end_byte, last - 1);
    if (first != in_.npos && in_.find("KeyboardInterrupt", first) != in_.npos) {
      say(std::string_view(in_).substr(0, first));
      finish({}, without_cr(in_.substr(first + 1, last - first - 1)));
      return true;
    }
  }
  if (read_reboot(now)) return true;
  std::size_t ready = in_.size() - partial_mark(in_, run_->call.end_mark);
  // An end that may be the board's own is kept until what follows it is known.
  if (run_->interrupted) ready = std::min(ready, in_.find(end_byte));
  if (cooked_ == true && ready > 0 && in_[ready - 1] == '\r') --ready;
  ready -= partial_character(std::string_view(in_).substr(0, ready));
  say(std::string_view(in_).substr(0, ready));
  in_.erase(0, ready);
  return false;
}

bool RawRepl::read_end(Instant now) {
  const std::size_t first = in_.find(end_byte);
  const std::size_t second = first == in_.npos ? first : find_answer_end(in_, first + 1);
  if (second != in_.npos) {
    std::string error = traceback_of(in_, std::string_view(in_).substr(first + 1, second - first - 1));
    if (is_unread(error)) {
      run_->begun = false;
      if (!collected_) {
        in_.clear();
        collect_garbage(now);
        return true;
      }
    }
    finish(error.empty() ? value_of(std::string_view(in_).substr(0, first)) : "", std::move(error));
    return true;
  }
  if (in_.size() > options_.value_bytes) {
    finish({}, "OverflowError: the board's answer is too large");
    go(State::away);
    return true;
  }
  return read_reboot(now);
}

// A board that starts anew while code runs says so in its banner: that of raw mode, or of the friendly prompt, which
// a program could also print; then the board is asked for raw mode, which a running program would not answer.
bool RawRepl::read_reboot(Instant now) {
  if (tail_.find(raw_banner) != tail_.npos) {
    rebooted();
    return true;
  }
  if (!suspected_ && shows_friendly_prompt()) {
    suspected_ = true;
    polls_ = 0;
    ask_for_raw_mode(now);
  }
  return false;
}

bool RawRepl::shows_friendly_prompt() const {
  return tail_.ends_with("\r\n>>> ") && tail_.find("MicroPython v") != tail_.npos;
}

// More than once, for a board that has just begun may not listen yet.
void RawRepl::ask_for_raw_mode(Instant now) {
  timer_.reset();
  if (polls_ == most_questions || !shows_friendly_prompt()) return;
  to_send_ += '\x01';
  timer_ = now + options_.poll * (1 << polls_);
  ++polls_;
}

void RawRepl::say(std::string_view raw) {
  if (raw.empty()) return;
  events_.emplace_back(Output{cooked_ == true ? without_cr(raw) : std::string(raw)});
}

}  // namespace sojourn::device
