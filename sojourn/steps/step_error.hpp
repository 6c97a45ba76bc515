#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>

// How a step fails: a code of the one table, and a sentence. Recoverable and fatal are kept apart by the table.
namespace sojourn::steps {

enum class StepCode {
#define SOJOURN_STEP_CODE(number, name, fatal, advice) name = (number),
#include "sojourn/steps/step_codes.def"
#undef SOJOURN_STEP_CODE
};

struct StepCodeInfo {
  std::string_view number;  // as it stands in a result's error_code
  std::string_view name;
  bool fatal;
  std::string_view advice;
};

const StepCodeInfo& info(StepCode code);

// The code whose number or name is `word`, if the table has it.
std::optional<StepCode> find_step_code(std::string_view word);

// What an algorithm throws to fail a step with a code of its choice. Any other exception is algorithm_failed.
class StepError : public std::exception {
 public:
  StepError(StepCode code, std::string message) : code_(code), message_(std::move(message)) {}

  StepCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  StepCode code_;
  std::string message_;
};

// The StepError that `error` is: its own, not_serializable for a value that the session's state refused, and
// `otherwise` for any other exception, with its text.
StepError to_step_error(std::exception_ptr error, StepCode otherwise = StepCode::algorithm_failed);

}  // namespace sojourn::steps
