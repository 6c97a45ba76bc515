#include "sojourn/steps/step_input.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <limits>

#include "sojourn/base/error.hpp"

namespace sojourn::steps {

namespace {

[[noreturn]] void refuse(const std::string& field, std::string_view reason) {
  throw Error(ErrorCode::invalid_request, fmt::format("{}: {}", field, reason));
}

// The fields of one object of the input.
class Fields {
 public:
  Fields(const Json& value, std::string where, std::initializer_list<std::string_view> known)
      : where_(std::move(where)) {
    if (value.is_null()) return;
    if (!value.is_object()) refuse(where_, "must be an object");
    object_ = &value.get_object();
    for (const auto& [key, field] : *object_) {
      if (std::ranges::find(known, std::string_view(key)) == known.end()) {
        refuse(at(key), fmt::format("is not known; it may have {}", fmt::join(known, ", ")));
      }
    }
  }

  const Json* find(std::string_view key) const {
    const Json* value = object_ == nullptr ? nullptr : object_->if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  std::string text(std::string_view key) const {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) refuse(at(key), "must be text");
    return std::string(value->get_string());
  }

  JsonObject object(std::string_view key) const {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_object()) refuse(at(key), "must be an object");
    return value->get_object();
  }

  bool flag(std::string_view key) const {
    const Json* value = find(key);
    if (value == nullptr) return false;
    if (!value->is_bool()) refuse(at(key), "must be true or false");
    return value->get_bool();
  }

  std::string at(std::string_view key) const { return fmt::format("{}.{}", where_, key); }

 private:
  std::string where_;
  const JsonObject* object_ = nullptr;
};

int step_index_of(const Fields& fields) {
  const Json* index = fields.find("step_index");
  if (index == nullptr) refuse(fields.at("step_index"), "is missing; the first step is 1");
  const std::int64_t number = index->is_int64() ? index->get_int64() : 0;
  if (number < 1 || number > std::numeric_limits<int>::max()) {
    refuse(fields.at("step_index"), "must be a whole number, at least 1");
  }
  return static_cast<int>(number);
}

}  // namespace

StepInput step_input(const Json& input) {
  const Fields fields(input, "input", {"step_index", "pid", "user_params", "shared_mem_id", "image_meta"});
  return {.step_index = step_index_of(fields),
          .pid = fields.text("pid"),
          .user_params = fields.object("user_params"),
          .shared_mem_id = fields.text("shared_mem_id"),
          .image_meta = fields.object("image_meta")};
}

DetectionInput detection_input(const Json& input) {
  const Fields fields(input, "input", {"pid", "steps", "resume"});
  DetectionInput result{.pid = fields.text("pid"), .steps = {}, .resume = fields.flag("resume")};
  const Json* steps = fields.find("steps");
  if (steps == nullptr) return result;
  if (!steps->is_array()) refuse("input.steps", "must be a list");
  for (const Json& value : steps->get_array()) {
    const Fields step(value, fmt::format("input.steps[{}]", result.steps.size()),
                      {"user_params", "shared_mem_id", "image_meta"});
    result.steps.push_back({.user_params = step.object("user_params"),
                            .shared_mem_id = step.text("shared_mem_id"),
                            .image_meta = step.object("image_meta")});
  }
  return result;
}

}  // namespace sojourn::steps
