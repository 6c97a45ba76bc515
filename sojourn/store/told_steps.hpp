#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"
#include "sojourn/store/verify.hpp"

// What a session's events tell of the attempts at its steps, held against their rows. Part of JournalVerifier.
//
// Nothing stands in a row that does not follow from the events.
namespace sojourn::store {

class ToldSteps {
 public:
  // The next event, of a type that begins with "step."; nothing where it tells of no attempt.
  // Errors: whatever reading JSON of another shape throws.
  std::optional<Finding> take(std::uint64_t seq, std::string_view type, const JsonObject& body,
                              std::string_view text);

  // What is wrong with a row, if anything is. The last event was `head`; a row may know of later ones, up to
  // `newest`.
  std::optional<Finding> check(StepRecord row, std::uint64_t head, std::uint64_t newest);

  // That rows are missing which check() was not asked for.
  std::vector<Finding> missing() const;

  std::uint64_t count() const { return attempts_.size(); }

 private:
  StepRecord* find(const std::string& name, std::uint64_t attempt);

  std::vector<StepRecord> attempts_;  // by number, from 1
  std::vector<bool> seen_;            // by check()
  std::map<std::pair<std::string, std::uint64_t>, std::size_t> places_;
};

}  // namespace sojourn::store
