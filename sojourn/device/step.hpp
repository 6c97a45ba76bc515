#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/device/board.hpp"

// What a session declares to be run on its board.
namespace sojourn::device {

// Code that runs once for a session: set-up before its first operation, teardown at its end, lowest order first.
struct Step {
  std::string name;
  std::string code;
  int order = 0;
  bool ignore_errors = false;  // else what fails here fails what it was run for
  Milliseconds timeout = Milliseconds(30'000);
  SourcePlace place = {"<step>", 1};
  bool exclusive = false;  // the session's threads stand still at their next beat while it runs
  bool auto_run = false;   // of a set-up: it runs when the session begins and when the board comes back, not only
                           // when there is an operation; teardown always runs by itself
};

// A function, and what holds whenever it is called.
struct Task {
  Function function;
  Milliseconds timeout = Milliseconds(30'000);  // of one call; its caller's deadline holds too
  bool exclusive = false;                       // as Step::exclusive
};

// The steps of one kind, by order and then as they were added, and which of them have run since when.
class Steps {
 public:
  // Errors: already_exists for a name.
  void add(Step step);

  const Step* find(std::string_view name) const;
  std::vector<Step> all() const;
  bool any_auto_run() const;

  // The first that has not run since the board's memory began for the `boot`th time, of all or of those that run by
  // themselves.
  std::optional<Step> next_due(std::uint64_t boot, bool auto_run_only) const;
  void note_run(std::string_view name, std::uint64_t boot);

 private:
  struct Entry {
    Step step;
    std::uint64_t boot = 0;  // in which it ran
  };
  std::vector<Entry> entries_;
};

}  // namespace sojourn::device
