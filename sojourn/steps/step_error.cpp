#include "sojourn/steps/step_error.hpp"

#include <algorithm>
#include <array>

#include "sojourn/base/error.hpp"

namespace sojourn::steps {

namespace {

constexpr std::array table{
#define SOJOURN_STEP_CODE(number, name, fatal, advice) \
  std::pair{StepCode::name, StepCodeInfo{#number, #name, fatal, advice}},
#include "sojourn/steps/step_codes.def"
#undef SOJOURN_STEP_CODE
};

bool is_refused_value(const Error& error) {
  return error.code() == ErrorCode::not_serializable || error.code() == ErrorCode::too_large;
}

}  // namespace

const StepCodeInfo& info(StepCode code) {
  return std::ranges::find(table, code, [](const auto& row) { return row.first; })->second;
}

std::optional<StepCode> find_step_code(std::string_view word) {
  for (const auto& [code, row] : table) {
    if (row.number == word || row.name == word) return code;
  }
  return std::nullopt;
}

StepError to_step_error(std::exception_ptr error, StepCode otherwise) {
  try {
    std::rethrow_exception(std::move(error));
  } catch (const StepError& known) {
    return {known.code(), to_valid_utf8(known.message())};
  } catch (const Error& refused) {
    return {is_refused_value(refused) ? StepCode::not_serializable : otherwise, to_valid_utf8(refused.message())};
  } catch (const std::exception& other) {
    return {otherwise, to_valid_utf8(other.what())};
  } catch (...) {
    return {otherwise, "it threw something that is no std::exception"};
  }
}

}  // namespace sojourn::steps
