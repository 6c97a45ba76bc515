#include "sojourn/steps/result.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::steps {

namespace {

[[noreturn]] void refuse(std::string_view field, std::string_view reason) {
  throw StepError(StepCode::invalid_result, fmt::format("{}: {}", field, reason));
}

const Json* find(const JsonObject& object, std::string_view key) {
  const Json* value = object.if_contains(key);
  return value != nullptr && value->is_null() ? nullptr : value;
}

std::string text_of(const JsonObject& object, std::string_view key) {
  const Json* value = find(object, key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(key, "must be text");
  return std::string(value->get_string());
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

void check_rect(const std::string& field, const Json& value) {
  if (!value.is_object()) refuse(field, "must be an object with x, y, width and height");
  const JsonObject& rect = value.get_object();
  for (const std::string_view key : {"x", "y", "width", "height"}) {
    const Json* number = find(rect, key);
    const std::int64_t least = key == "x" || key == "y" ? 0 : 1;
    if (number == nullptr || !number->is_int64() || number->get_int64() < least) {
      refuse(fmt::format("{}.{}", field, key), fmt::format("must be a whole number, at least {}", least));
    }
  }
  if (const Json* label = find(rect, "label"); label != nullptr && !label->is_string()) {
    refuse(field + ".label", "must be text");
  }
  if (const Json* score = find(rect, "score")) {
    if (!score->is_number() || !(score->to_number<double>() >= 0 && score->to_number<double>() <= 1)) {
      refuse(field + ".score", "must be a number from 0 to 1");
    }
  }
}

// Whether the list is there.
bool check_rects(const JsonObject& data, std::string_view key, std::size_t most) {
  const Json* list = find(data, key);
  if (list == nullptr) return false;
  const std::string field = fmt::format("data.{}", key);
  if (!list->is_array()) refuse(field, "must be a list of rectangles");
  if (list->get_array().size() > most) {
    refuse(field, fmt::format("has {} rectangles; at most {} are allowed", list->get_array().size(), most));
  }
  std::size_t i = 0;
  for (const Json& rect : list->get_array()) check_rect(fmt::format("{}[{}]", field, i++), rect);
  return true;
}

void check_verdict(const JsonObject& data) {
  const std::string verdict = text_of(data, "result_status");
  if (verdict != "OK" && verdict != "NG") refuse("data.result_status", "must be OK or NG");
  const bool has_defects = check_rects(data, "defect_rects", most_defects);
  check_rects(data, "position_rects", limits::json_bytes);
  if (verdict == "OK") return;
  const Json* reason = find(data, "ng_reason");
  if (reason == nullptr || !reason->is_string() || reason->get_string().empty()) {
    refuse("data.ng_reason", "NG needs a reason");
  }
  if (characters(reason->get_string()) > reason_length) {
    refuse("data.ng_reason", fmt::format("has more than {} characters", reason_length));
  }
  if (!has_defects) refuse("data.defect_rects", "NG needs the list of defects, which may be empty");
}

void check_serializable(const Result& result) {
  try {
    to_text(result.data, {.bytes = limits::json_bytes / 2, .depth = limits::json_depth - 4});
  } catch (const Error& error) {
    throw StepError(StepCode::not_serializable, "data: " + error.message());
  }
  if (!is_valid_utf8(result.message) || !is_valid_utf8(result.error_code)) {
    throw StepError(StepCode::not_serializable, "message: is no valid UTF-8");
  }
}

}  // namespace

JsonObject to_json(const Rect& rect) {
  JsonObject json{{"x", rect.x}, {"y", rect.y}, {"width", rect.width}, {"height", rect.height}};
  if (!rect.label.empty()) json["label"] = rect.label;
  if (rect.score) json["score"] = *rect.score;
  return json;
}

JsonArray to_json(const std::vector<Rect>& rects) {
  JsonArray json;
  for (const Rect& rect : rects) json.push_back(to_json(rect));
  return json;
}

Result Result::done(JsonObject data) {
  return {.ok = true, .message = {}, .error_code = {}, .data = std::move(data)};
}

Result Result::calibrated(const std::vector<Rect>& rects, JsonObject data) {
  data["calibration_rects"] = steps::to_json(rects);
  return done(std::move(data));
}

Result Result::good(JsonObject data) {
  data["result_status"] = "OK";
  return done(std::move(data));
}

Result Result::not_good(std::string_view reason, const std::vector<Rect>& defects, JsonObject data) {
  data["result_status"] = "NG";
  data["ng_reason"] = reason;
  data["defect_rects"] = steps::to_json(defects);
  return done(std::move(data));
}

Result Result::error(StepCode code, std::string message) {
  return {.ok = false, .message = std::move(message), .error_code = std::string(info(code).number), .data = {}};
}

bool Result::is_good() const {
  const Json* verdict = data.if_contains("result_status");
  return ok && verdict != nullptr && *verdict == Json("OK");
}

bool Result::is_fatal() const {
  const auto code = find_step_code(error_code);
  return !ok && code && info(*code).fatal;
}

JsonObject Result::to_json() const {
  JsonObject json{{"status", ok ? "OK" : "ERROR"}, {"message", message}};
  if (!ok) json["error_code"] = error_code;
  json["data"] = data;
  return json;
}

Result Result::from_json(const JsonObject& json) {
  const std::string status = text_of(json, "status");
  if (status != "OK" && status != "ERROR") refuse("status", "must be OK or ERROR");
  Result result;
  result.ok = status == "OK";
  result.message = text_of(json, "message");
  result.error_code = text_of(json, "error_code");
  const Json* data = find(json, "data");
  if (data != nullptr && !data->is_object()) refuse("data", "must be an object");
  if (data == nullptr && result.ok) refuse("data", "OK needs it");
  if (data != nullptr) result.data = data->get_object();
  if (!result.ok && result.error_code.empty()) result.error_code = info(StepCode::unknown).number;
  return result;
}

void check(const Result& result, Phase phase) {
  check_serializable(result);
  if (!result.ok) {
    if (result.message.empty()) refuse("message", "ERROR needs one");
    return;
  }
  if (phase == Phase::execute) {
    check_verdict(result.data);
    return;
  }
  if (find(result.data, "result_status") != nullptr) refuse("data.result_status", "pre_execute gives no verdict");
  check_rects(result.data, "calibration_rects", limits::json_bytes);
}

}  // namespace sojourn::steps
