#pragma once

#include <optional>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"

// A session's journal as a picture: one line for each event that says something, with a bar for what took time.
namespace sojourn::cli {

// One line of it.
struct Span {
  enum class Kind { point, stage, work, failure };

  Kind kind = Kind::point;
  Time start{};
  Time end{};  // as `start` for what took no time
  std::string label;
  std::string note;
};

// What an event's body says; nothing for one that belongs to another's line, such as a log line or the start of a
// step that is over, unless `all` are wanted. Errors: those of reading JSON of another shape than journals have.
std::optional<Span> span_of(const JsonObject& body, bool all);

// "....####....": where the span lies between `from` and `to`, in `columns`; at least one column of it is marked.
std::string bar_of(const Span& span, Time from, Time to, std::size_t columns);

// "340 us", "12.5 ms", "3.20 s", "4 min 05 s", "3 h 07 min".
std::string duration_text(Microseconds duration);

}  // namespace sojourn::cli
