#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/session/kept_session.hpp"
#include "sojourn/session/steps.hpp"

// What is said of a session from outside its calls: a stage move, a step, an artefact.
//
// Entries wait for no call. Many that arrive together become one commit; each is decided alone when its turn has
// come, on what those before it left, and one that is refused takes nothing of the others with it.
namespace sojourn::session {

// A commit that is being put together, as an entry finds it and adds to it.
struct Draft {
  const store::SessionRecord& record;  // as the last commit left it
  store::SessionHead& head;            // as this commit will leave it; `chain` and `updated_at` are set later
  Step& step;
  Time now;                  // of the events that are added
  std::uint64_t first_seq;   // of step.events
  StepBook& steps;           // knows those that the entries name
  bool has_entries = false;  // entries before this one added something

  // The number that the next event in step.events will have.
  std::uint64_t next_seq() const { return first_seq + step.events.size(); }
};

struct Entry {
  // Adds to the draft, or throws before it has changed anything. Called at most once for each try to commit, so what
  // it tells its caller beside is true only once it is durable.
  std::function<void(Draft&)> write;
  std::optional<std::uint64_t> expected_version;  // refused with precondition_failed where the session has another
  std::size_t bytes = 0;                          // about what it takes up while it waits
  bool also_after_end = false;                    // else refused once the session is over
  std::vector<std::string> steps;                 // those that `write` looks at
};

// Errors: precondition_failed (details: "version", that of the session now, and "expected").
void check_version(std::optional<std::uint64_t> expected, std::uint64_t version);

}  // namespace sojourn::session
