#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "sojourn/base/async.hpp"
#include "sojourn/base/descriptor.hpp"

namespace sojourn::worker {

// Cuts what a program writes into lines of valid UTF-8.
class LineSplitter {
 public:
  static constexpr std::size_t max_bytes = 8192;  // of a line; the rest of a longer one is left out

  // `cut` says that the line went on.
  using Sink = std::function<void(std::string line, bool cut)>;

  void feed(std::string_view bytes, const Sink& sink);

  // The program will write no more: hands over a last line without its end.
  void finish(const Sink& sink);

 private:
  void hand_over(const Sink& sink);

  std::string line_;
  bool cut_ = false;
};

// The lines that came last.
class LastLines {
 public:
  static constexpr std::size_t kept = 20;

  void add(std::string line);
  bool is_empty() const { return lines_.empty(); }
  std::string text() const;

 private:
  std::deque<std::string> lines_;
};

// Hands each line of what is written to `pipe` to `sink`, until the last writer closes it. Cancel: terminal.
Async<void> each_line(Descriptor pipe, LineSplitter::Sink sink);

}  // namespace sojourn::worker
