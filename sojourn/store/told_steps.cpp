#include "sojourn/store/told_steps.hpp"

#include <fmt/format.h>

#include "sojourn/base/limits.hpp"

namespace sojourn::store {

namespace {

Finding finding(std::uint64_t seq, std::string message) {
  return {.kind = Finding::Kind::step, .seq = seq, .message = std::move(message)};
}

std::uint64_t begun_by(const StepRecord& step) {
  return step.started_seq != 0 ? step.started_seq : step.ended_seq;
}

// The error of a failed attempt as its row has it, so read as exactly as that was.
JsonText error_in(std::string_view body) {
  const JsonObject object = parse_json_object(body, {.depth = limits::json_depth + 2});
  return to_text(object.at("data").at("error"));
}

std::string_view differing_field(const StepRecord& told, const StepRecord& row) {
  if (told.name != row.name) return "name";
  if (told.attempt != row.attempt) return "attempt";
  if (told.status != row.status) return "status";
  if (told.started_at != row.started_at) return "start";
  if (told.ended_at != row.ended_at) return "end";
  if (told.duration != row.duration) return "duration";
  if (told.started_seq != row.started_seq || told.ended_seq != row.ended_seq) return "event";
  return told.error != row.error ? "error" : "";
}

}  // namespace

StepRecord* ToldSteps::find(const std::string& name, std::uint64_t attempt) {
  const auto place = places_.find({name, attempt});
  return place == places_.end() ? nullptr : &attempts_[place->second];
}

std::optional<Finding> ToldSteps::take(std::uint64_t seq, std::string_view type, const JsonObject& body,
                                       std::string_view text) {
  const JsonObject& data = body.at("data").as_object();
  const std::string name(data.at("step").as_string());
  const auto attempt = data.at("attempt").to_number<std::uint64_t>();
  const Time time = parse_time(body.at("time").as_string());
  const bool starts = type == "step.started";
  const bool begins = starts || data.contains("reported");
  if (begins) {
    places_.emplace(std::pair(name, attempt), attempts_.size());
    attempts_.push_back({.number = attempts_.size() + 1,
                         .name = name,
                         .attempt = attempt,
                         .started_at = time,
                         .started_seq = starts ? seq : 0});
    seen_.push_back(false);
  }
  if (starts) return std::nullopt;
  StepRecord* step = find(name, attempt);
  if (step == nullptr || step->ended_seq != 0) {
    return finding(seq, fmt::format("event {} tells of the end of attempt {} at step '{}', which did not run", seq,
                                    attempt, name));
  }
  const bool failed = type == "step.failed";
  step->status = failed ? StepStatus::failed : StepStatus::completed;
  step->ended_at = time;
  step->duration = Microseconds(data.at("us").to_number<std::int64_t>());
  if (begins) step->started_at = time - step->duration;
  step->ended_seq = seq;
  if (failed) step->error = error_in(text);
  return std::nullopt;
}

std::optional<Finding> ToldSteps::check(StepRecord row, std::uint64_t head, std::uint64_t newest) {
  const std::string what = fmt::format("attempt {} at step '{}'", row.attempt, row.name);
  const bool may_be = begun_by(row) <= newest && row.ended_seq <= newest;
  if (may_be && begun_by(row) > head) return std::nullopt;
  if (row.number < 1 || row.number > attempts_.size()) {
    return finding(0, fmt::format("no event tells of {}", what));
  }
  if (may_be && row.ended_seq > head) {
    row = {.number = row.number,
           .name = std::move(row.name),
           .attempt = row.attempt,
           .started_at = row.started_at,
           .started_seq = row.started_seq};
  }
  const StepRecord& told = attempts_[row.number - 1];
  seen_[row.number - 1] = true;
  const std::string_view field = differing_field(told, row);
  if (field.empty()) return std::nullopt;
  const std::uint64_t seq = told.ended_seq != 0 ? told.ended_seq : told.started_seq;
  return finding(seq,
                 fmt::format("{} (number {}) has another {} than event {} recorded", what, row.number, field, seq));
}

std::vector<Finding> ToldSteps::missing() const {
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    const StepRecord& told = attempts_[i];
    if (seen_[i]) continue;
    findings.push_back(
        finding(begun_by(told), fmt::format("attempt {} at step '{}' is missing, though event {} tells "
                                            "of it",
                                            told.attempt, told.name, begun_by(told))));
  }
  return findings;
}

}  // namespace sojourn::store
