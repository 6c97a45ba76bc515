#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"
#include "sojourn/store/verify.hpp"

// What a session's events tell of its calls, held against the rows of tasks. Part of JournalVerifier.
namespace sojourn::store {

// What is compared of a task, without its texts.
struct TaskNote {
  explicit TaskNote(const TaskRecord& task);

  std::string id;
  TaskStatus status;
  std::string function;
  Hash input;
  Hash output;
  bool has_output;
  Hash error;
  bool has_error;
  std::optional<Time> run_at;
};

class ToldCalls {
 public:
  // The next event, of a type that begins with "call.".
  void take(std::uint64_t seq, std::string_view type, const JsonObject& data);

  // What is wrong with a row, if anything is; it is not among rest() then. What an event left out is not compared,
  // nor that the call is over where the row may be newer than the events.
  std::optional<Finding> check(TaskNote row, bool may_be_newer = false);

  // Where the events leave a call, if they tell of it and check() was not asked for it.
  std::optional<TaskStatus> status_of(const std::string& task) const;

  // Tasks that check() was not asked for.
  std::vector<std::string> rest() const;

  // That one of rest() has no row.
  Finding missing(const std::string& task) const;

 private:
  struct Told {
    std::uint64_t seq = 0;  // of the newest event
    TaskStatus status = TaskStatus::received;
    std::string function;
    std::optional<Hash> input;
    std::optional<Hash> output;
    std::optional<Hash> error;
    std::string run_at;
  };

  static std::string complaint(const Told& told, const TaskNote& row);

  std::unordered_map<std::string, Told> tasks_;
};

}  // namespace sojourn::store
