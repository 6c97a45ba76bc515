#include "sojourn/client/requests.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/error.hpp"
#include "sojourn/client/transport.hpp"

namespace sojourn::client {

namespace {

constexpr std::size_t largest_page = 1'000;

void put(JsonObject& body, std::string_view name, const std::string& text) {
  if (!text.empty()) body[name] = text;
}

void put(JsonObject& body, std::string_view name, std::optional<Seconds> time) {
  if (time) body[name] = time->count();
}

}  // namespace

JsonObject body_of(const RunRequest& request) {
  JsonObject body = request.more;
  put(body, "app", request.app);
  put(body, "function", request.function);
  body["input"] = request.input;
  put(body, "session", request.session);
  put(body, "session_timeout", request.session_timeout);
  put(body, "call_timeout", request.options.call_timeout);
  return body;
}

JsonObject body_of(const NewSession& request) {
  JsonObject body;
  put(body, "app", request.app);
  put(body, "session_timeout", request.session_timeout);
  put(body, "lifetime", request.lifetime);
  if (!request.context.empty()) body["context"] = request.context;
  if (!request.setup.is_null()) body["setup"] = request.setup;
  JsonObject labels;
  for (const auto& [name, value] : request.labels) labels[name] = value;
  if (!labels.empty()) body["labels"] = std::move(labels);
  if (!request.metadata.empty()) body["metadata"] = request.metadata;
  put(body, "user_id", request.user_id);
  if (request.warm) {
    body["warm"] = true;
    body["wait"] = true;
  }
  return body;
}

std::string target_of(const SessionQuery& query) {
  std::string target = fmt::format("/sessions?limit={}", std::clamp<std::size_t>(query.limit, 1, largest_page));
  const auto filter = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) target += fmt::format("&{}={}", name, path_segment(value));
  };
  filter("status", query.status);
  filter("app", query.app);
  filter("user_id", query.user_id);
  filter("stage", query.stage);
  filter("id", query.id);
  filter("created_from", query.created_from);
  filter("created_before", query.created_before);
  for (const auto& [name, value] : query.labels) {
    target += fmt::format("&label.{}={}", path_segment(name), path_segment(value));
  }
  return target;
}

std::string file_target(const std::string& uri) {
  const auto at = uri.find("/files/");
  const std::string target = at == std::string::npos ? "" : uri.substr(at);
  if (target.find_first_of("?#% \r\n") != std::string::npos || target.size() <= std::string_view("/files/").size()) {
    throw Error(ErrorCode::invalid_request, fmt::format("'{}' is no address of a file; it is like /files/ID", uri));
  }
  return target;
}

}  // namespace sojourn::client
