#include "sojourn/store/told_session.hpp"

#include <fmt/format.h>

#include "sojourn/base/limits.hpp"

namespace sojourn::store {

namespace {

std::string text_of(const JsonObject& object, std::string_view field) {
  const Json* value = object.if_contains(field);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<Seconds> seconds_in(const JsonObject& object, std::string_view field) {
  const Json* value = object.if_contains(field);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  return Seconds(value->get_int64());
}

// What was given as told by its hash, or by none where it was left out.
bool is_given(const std::string& told, const JsonText& given, std::string_view none) {
  return told.empty() ? given == none : told == to_hex(sha256(given));
}

JsonText part_of(const JsonObject& data, std::string_view field) {
  const Json* value = data.if_contains(field);
  return value == nullptr ? JsonText() : to_text(*value);
}

}  // namespace

void ToldSession::take(std::uint64_t seq, std::string_view type, const JsonObject& body, std::string_view text) {
  if (type == "session.created" && seq == 1) {
    take_beginning(body);
  } else if (type == "session.stage") {
    const Json* data = body.if_contains("data");
    if (data != nullptr && data->is_object()) stage_ = text_of(data->get_object(), "to");
  } else if (type == "session.ended" || type == "session.expired" || type == "session.failed") {
    take_end(seq, type, text);
  }
}

void ToldSession::take_beginning(const JsonObject& body) {
  const Json* found = body.if_contains("data");
  if (found == nullptr || !found->is_object()) return;
  const JsonObject& data = found->get_object();
  key_ = text_of(data, "key");
  context_ = text_of(data, "context");
  labels_ = text_of(data, "labels");
  metadata_ = text_of(data, "metadata");
  setup_ = text_of(data, "setup");
  app_ = text_of(data, "app");
  version_ = text_of(data, "version");
  user_ = text_of(data, "user");
  lifecycle_ = text_of(data, "lifecycle");
  created_at_ = text_of(body, "time");
  timeout_ = seconds_in(data, "timeout");
  lifetime_ = seconds_in(data, "lifetime");
  if (const std::string stage = text_of(data, "stage"); !stage.empty()) stage_ = stage;
}

// Read as exactly as the row's texts were.
void ToldSession::take_end(std::uint64_t seq, std::string_view type, std::string_view text) {
  ended_ = seq;
  how_ = type.substr(type.find('.') + 1);
  const JsonObject body = parse_json_object(text, {.depth = limits::json_depth + 2});
  ended_at_ = text_of(body, "time");
  const Json* data = body.if_contains("data");
  if (data == nullptr || !data->is_object()) return;
  reason_ = text_of(data->get_object(), "reason");
  error_ = part_of(data->get_object(), "error");
  usage_ = part_of(data->get_object(), "usage");
}

std::string_view ToldSession::differing_given(const SessionRecord& record) const {
  if (!is_given(labels_, record.labels, "{}")) return "labels";
  if (!is_given(metadata_, record.metadata, "{}")) return "metadata";
  if (!is_given(setup_, record.setup, "null")) return "setup";
  if (app_ != record.app || version_ != record.app_version) return "app";
  if (user_ != record.user) return "user";
  if (lifecycle_ != record.lifecycle) return "lifecycle";
  if (created_at_ != format_time(record.created_at)) return "time of creation";
  if (timeout_ != record.idle_timeout) return "idle time-out";
  return lifetime_ != record.lifetime ? "lifetime" : "";
}

std::string_view ToldSession::differing_end(const SessionRecord& record) const {
  const SessionHead& head = record.head;
  if (how_ != to_string(head.status)) return "status";
  if (reason_ != head.end_reason) return "reason of its end";
  if (head.ended_at && ended_at_ != format_time(*head.ended_at)) return "time of its end";
  if (!head.ended_at) return "time of its end";
  if ((error_.empty() ? "null" : error_) != head.error) return "error";
  return !usage_.empty() && usage_ != to_text(parse_json(usage_text(head))) ? "usage" : "";
}

std::vector<Finding> ToldSession::check(const SessionRecord& record) const {
  std::vector<Finding> findings;
  const auto add = [&](Finding::Kind kind, std::uint64_t seq, std::string message) {
    findings.push_back({.kind = kind, .seq = seq, .message = std::move(message)});
  };
  const auto add_field = [&](std::string_view field, std::uint64_t seq) {
    if (field.empty()) return;
    add(Finding::Kind::session, seq, fmt::format("the session's {} is not what event {} recorded", field, seq));
  };
  if (!context_.empty() && context_ != to_hex(sha256(record.context))) {
    add(Finding::Kind::context, 1, "the session's context is not what event 1 recorded");
  }
  if (key_.empty()) return findings;
  const bool over = record.head.status != SessionStatus::active;
  if (over != (ended_ != 0)) {
    add(Finding::Kind::ending, ended_,
        over ? "the session's row says that it is over, but no event tells of its end"
             : fmt::format("event {} tells of the session's end, but its row says that it is active", ended_));
  }
  add_field(differing_given(record), 1);
  if (stage_ != record.head.stage) {
    add(Finding::Kind::session, 0,
        fmt::format("the session is at stage '{}', but its events leave it at '{}'", record.head.stage, stage_));
  }
  if (over && ended_ != 0) add_field(differing_end(record), ended_);
  return findings;
}

}  // namespace sojourn::store
