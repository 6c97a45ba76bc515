#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/steps/step_error.hpp"

// What a step answers, on two levels: did the call work (OK or ERROR), and is the product good (OK or NG).
//
// The two are never mixed: a product with a defect is a call that worked, and a picture that could not be read is no
// verdict on the product.
namespace sojourn::steps {

inline constexpr std::size_t most_defects = 20;
inline constexpr std::size_t reason_length = 50;  // characters

struct Rect {
  std::int64_t x = 0, y = 0, width = 0, height = 0;  // pixels
  std::string label = {};
  std::optional<double> score = std::nullopt;  // 0 to 1
};

JsonObject to_json(const Rect& rect);
JsonArray to_json(const std::vector<Rect>& rects);

struct Result {
  bool ok = true;          // whether the call worked
  std::string message;     // needed where it did not
  std::string error_code;  // of the table, or the algorithm's own; "" where it worked
  JsonObject data;         // what the step found

  // A call that worked and has no verdict: pre_execute's.
  static Result done(JsonObject data = {});
  static Result calibrated(const std::vector<Rect>& rects, JsonObject data = {});

  // execute's two verdicts. `data` is what else the step found.
  static Result good(JsonObject data = {});
  static Result not_good(std::string_view reason, const std::vector<Rect>& defects, JsonObject data = {});

  static Result error(StepCode code, std::string message);
  static Result error(const StepError& error) { return Result::error(error.code(), error.message()); }

  bool is_good() const;   // whether it says that the product is good
  bool is_fatal() const;  // whether the algorithm cannot go on

  // {"status", "message", "data"}, and "error_code" where the call did not work.
  JsonObject to_json() const;

  // Errors: StepError invalid_result, which names the field, for what is no result.
  static Result from_json(const JsonObject& json);
};

enum class Phase { pre_execute, execute };

// Checks that `result` is one that `phase` may answer: a verdict from execute, none from pre_execute; NG with a
// reason of at most reason_length characters and at most most_defects rectangles; rectangles with a size, inside the
// picture's first quadrant; data that JSON can hold. Errors: StepError invalid_result or not_serializable, which
// names the field.
void check(const Result& result, Phase phase);

}  // namespace sojourn::steps
