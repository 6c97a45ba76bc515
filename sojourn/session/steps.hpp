#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// The steps of a session's own work: started and finished, so that the server measures, or reported with their time.
//
// A step may be tried any number of times, also at once; each attempt is told by an event and has a row.
namespace sojourn::session {

struct Draft;

// What is known of a session's attempts at some steps, as the entries of a commit go by. What it has not learnt it
// asks the store for (KeptSession::learn_steps). Threads: none; the owner keeps calls apart.
class StepBook {
 public:
  struct Step {
    std::uint64_t attempts = 0;
    std::map<std::uint64_t, store::StepRecord> running;  // by attempt
  };

  bool knows(std::string_view name) const { return steps_.contains(name); }
  std::size_t size() const { return steps_.size(); }

  // Learns of these steps all that the store has.
  void learn(const std::vector<std::string>& names, const std::vector<store::StepRecord>& latest);

  Step& of(std::string_view name);  // that was learnt

  // To be called where a commit that changed what is known here was not made.
  void forget() { steps_.clear(); }

 private:
  std::map<std::string, Step, std::less<>> steps_;
};

// What is said of a step.
struct StepChange {
  enum class Kind { start, finish, fail, report };

  Kind kind = Kind::start;
  std::string name;                      // 1 to 64 of letters, digits, '_', '-' and '.', not '.' first
  std::optional<std::uint64_t> attempt;  // that is over; none: the newest that runs
  std::optional<Microseconds> duration;  // of a report, which needs it
  bool failed = false;                   // of a report
  Json error;                            // of what failed
  JsonObject data;                       // kept in the event
  std::string actor = "local";
};

// Errors: invalid_request for a name of another shape, a report without duration or a negative one; too_large.
void check_step(const StepChange& change);

// Adds what `change` says of a step that the draft's book knows, and returns the attempt as it is then.
// Errors: step_not_started for the end of an attempt that does not run; too_many_steps past
// limits::steps_per_session.
store::StepRecord write_step(Draft& draft, const StepChange& change);

}  // namespace sojourn::session
