#include "sojourn/cli/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace sojourn::cli {

namespace {

using Kind = Span::Kind;

std::string text_of(const JsonObject& data, std::string_view field) {
  const Json* value = data.if_contains(field);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<Microseconds> duration_of(const JsonObject& data) {
  for (const auto& [field, unit] :
       {std::pair("us", 1), std::pair("latency_us", 1), std::pair("ms", 1'000), std::pair("duration_ms", 1'000)}) {
    const Json* value = data.if_contains(field);
    if (value != nullptr && value->is_number()) {
      return Microseconds(static_cast<std::int64_t>(value->to_number<double>() * unit));
    }
  }
  return std::nullopt;
}

// "CODE: MESSAGE" of what failed.
std::string failure_of(const JsonObject& data) {
  const Json* error = data.if_contains("error");
  if (error != nullptr && error->is_string()) return std::string(error->get_string());
  const JsonObject& told = error != nullptr && error->is_object() ? error->get_object() : data;
  const std::string code = text_of(told, "code");
  const std::string message = text_of(told, "message");
  return code.empty() || message.empty() ? code + message : code + ": " + message;
}

std::string joined(std::string left, std::string_view right, std::string_view between = "  ") {
  if (!left.empty() && !right.empty()) left += between;
  return left.append(right);
}

// What took time is told when it is over.
Span over(Kind kind, Time time, const JsonObject& data, std::string label, std::string note) {
  const auto took = duration_of(data);
  return {.kind = kind,
          .start = time - took.value_or(Microseconds(0)),
          .end = time,
          .label = std::move(label),
          .note = joined(took ? duration_text(*took) : "", note)};
}

std::optional<Span> call_span(std::string_view what, Time time, const JsonObject& data, bool all) {
  const std::string label = "call " + text_of(data, "function");
  if (what == "completed") return over(Kind::work, time, data, label, "");
  if (what == "failed") return over(Kind::failure, time, data, label, "FAILED " + failure_of(data));
  if (what == "cancelled") return over(Kind::failure, time, data, label, "CANCELLED " + failure_of(data));
  if (!all) return std::nullopt;
  return over(Kind::point, time, data, label, std::string(what));
}

std::optional<Span> step_span(std::string_view what, Time time, const JsonObject& data, bool all) {
  const std::string name = text_of(data, data.contains("step") ? "step" : "name");
  const Json* attempt = data.if_contains("attempt");
  const bool again = attempt != nullptr && attempt->is_number() && attempt->to_number<double>() > 1;
  const std::string note = again ? fmt::format("attempt {}", to_text(*attempt)) : "";
  if (what == "failed")
    return over(Kind::failure, time, data, "step " + name, joined("FAILED " + failure_of(data), note));
  if (what == "started") {
    if (!all) return std::nullopt;
    return over(Kind::point, time, data, "step " + name, joined("started", note));
  }
  return over(Kind::work, time, data, "step " + name, note);
}

std::optional<Span> session_span(std::string_view what, Time time, const JsonObject& data) {
  if (what == "stage") {
    return Span{.kind = Kind::stage,
                .start = time,
                .end = time,
                .label = "stage " + text_of(data, "to"),
                .note = joined("from " + text_of(data, "from"), text_of(data, "reason"), ": ")};
  }
  const bool failed = what == "failed";
  return Span{.kind = failed ? Kind::failure : Kind::point,
              .start = time,
              .end = time,
              .label = fmt::format("session {}", what),
              .note = failed ? "FAILED " + failure_of(data) : text_of(data, "reason")};
}

std::optional<Span> worker_span(std::string_view what, Time time, const JsonObject& data) {
  const bool failed = what == "lost" || what == "start_failed";
  const std::string why =
      failed ? joined("FAILED " + text_of(data, "reason"), failure_of(data)) : text_of(data, "reason");
  return over(failed              ? Kind::failure
              : what == "started" ? Kind::work
                                  : Kind::point,
              time, data, fmt::format("worker {}", what), why);
}

// A step of an algorithm; one that found a product bad has done its work.
Span algorithm_span(Time time, const JsonObject& data) {
  const Json* index = data.if_contains("step_index");
  const std::string label = "step " + (index != nullptr ? to_text(*index) : std::string("?"));
  if (text_of(data, "status") != "ERROR") return over(Kind::work, time, data, label, text_of(data, "result_status"));
  return over(Kind::failure, time, data, label,
              fmt::format("FAILED {}: {}", text_of(data, "error_code"), text_of(data, "message")));
}

}  // namespace

std::optional<Span> span_of(const JsonObject& body, bool all) {
  const std::string type = text_of(body, "type");
  const Time time = parse_time(body.at("time").as_string());
  const JsonObject& data = body.at("data").as_object();
  const std::size_t dot = std::min(type.find('.'), type.size());
  const std::string_view kind = std::string_view(type).substr(0, dot);
  const std::string_view what = std::string_view(type).substr(std::min(dot + 1, type.size()));
  if (kind == "session") return session_span(what, time, data);
  if (kind == "call") return call_span(what, time, data, all);
  if (kind == "step") return step_span(what, time, data, all);
  if (kind == "worker") return worker_span(what, time, data);
  if (type == "algorithm.step") return algorithm_span(time, data);
  const bool minor = kind == "log" || kind == "resource" || kind == "state";
  const std::string level = text_of(data, "level");
  if (minor && !all && level != "error" && type != "resource.leaked" && type != "resource.cleanup_failed") {
    return std::nullopt;
  }
  const bool failed = level == "error" || type.ends_with("failed") || type.ends_with("leaked");
  const std::string said = joined(text_of(data, "path"), text_of(data, "message"));
  return over(failed ? Kind::failure : Kind::point, time, data, type, failed ? "FAILED " + said : said);
}

std::string bar_of(const Span& span, Time from, Time to, std::size_t columns) {
  const auto whole = std::max<std::int64_t>((to - from).count(), 1);
  const auto column_of = [&](Time time) {
    const double share =
        static_cast<double>((std::clamp(time, from, to) - from).count()) / static_cast<double>(whole);
    return std::min(columns - 1, static_cast<std::size_t>(share * static_cast<double>(columns)));
  };
  std::string bar(columns, '.');
  const std::size_t first = column_of(span.start);
  const char mark = span.kind == Kind::stage     ? '|'
                    : span.kind == Kind::failure ? 'x'
                    : span.start == span.end     ? '+'
                                                 : '#';
  for (std::size_t column = first; column <= std::max(first, column_of(span.end)); ++column) bar[column] = mark;
  return bar;
}

std::string duration_text(Microseconds duration) {
  const std::int64_t us = std::max<std::int64_t>(duration.count(), 0);
  if (us < 1'000) return fmt::format("{} us", us);
  if (us < 1'000'000) return fmt::format("{:.1f} ms", static_cast<double>(us) / 1e3);
  if (us < 60'000'000) return fmt::format("{:.2f} s", static_cast<double>(us) / 1e6);
  const std::int64_t seconds = us / 1'000'000;
  if (seconds < 3'600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {:02} min", seconds / 3'600, seconds / 60 % 60);
}

}  // namespace sojourn::cli
