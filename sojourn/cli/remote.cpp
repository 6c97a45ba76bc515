#include "sojourn/cli/remote.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::cli {

namespace {

constexpr JsonLimits answer_limits{.bytes = 64 * limits::mebibyte, .depth = limits::json_depth + 8};

std::optional<Json> parse_body(std::string_view body) {
  if (body.empty()) return Json(nullptr);
  try {
    return parse_json(body, answer_limits);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// The error that an answer tells of: {"error": {"code", "message", ...}, "detail", ...}.
Error error_of(const http::Response& response, const std::optional<Json>& body, const std::string& url) {
  const JsonObject* object = body ? body->if_object() : nullptr;
  const Json* error = object != nullptr ? object->if_contains("error") : nullptr;
  if (error != nullptr && error->is_object() && !field(*error, "message").empty()) {
    return Error::from_json(error->get_object());
  }
  const std::string detail = object != nullptr ? field(*body, "detail") : "";
  return Error(ErrorCode::connection_failed,
               fmt::format("{} answered with status {} and no error of Sojourn's{}{}; is it a Sojourn server?", url,
                           response.status, detail.empty() ? "" : ": ", detail));
}

Async<void> exchange(http::Client& client, http::Request request, Instant deadline, http::Response& response) {
  response = co_await client.send(std::move(request), deadline, answer_limits.bytes);
}

}  // namespace

Remote::Remote(const Settings& settings)
    : settings_(settings), client_(loop_.executor(), clock_, http::parse_address(settings.url)) {}

Remote::Answer Remote::get(std::string target) {
  return send({.method = http::Method::get, .target = std::move(target)});
}

Remote::Answer Remote::post(std::string target, const JsonObject& body) {
  http::Request request{.method = http::Method::post, .target = std::move(target)};
  request.headers.add("Content-Type", "application/json");
  append_json(request.body, body);
  return send(std::move(request));
}

Remote::Answer Remote::del(std::string target) {
  return send({.method = http::Method::del, .target = std::move(target)});
}

Remote::Answer Remote::send(http::Request request) {
  request.headers.add("Accept", "application/json");
  request.headers.add("X-API-Version", "2");
  if (!settings_.api_key.empty()) request.headers.add("Authorization", "Bearer " + settings_.api_key);

  http::Response response;
  try {
    loop_.run(exchange(client_, std::move(request), clock_.instant() + settings_.timeout, response));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::connection_failed) {
      throw Error(error.code(), fmt::format("cannot reach the server: {} (url: {})", error.message(),
                                            settings_.value("url").source));
    }
    if (error.code() == ErrorCode::call_timeout) {
      throw Error(error.code(),
                  fmt::format("{} did not answer within {} s (--timeout); what was asked may still go on",
                              settings_.url, settings_.timeout.count()));
    }
    throw;
  }
  std::optional<Json> body = parse_body(response.body);
  if (response.status < 200 || response.status > 299 || !body) throw error_of(response, body, settings_.url);
  return {.body = std::move(*body), .next = next_page(response.headers.find("Link").value_or(""))};
}

std::string path_segment(std::string_view text) {
  std::string segment;
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (plain) {
      segment += c;
    } else {
      segment += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return segment;
}

std::string next_page(std::string_view link) {
  while (!link.empty()) {
    const auto open = link.find('<');
    const auto close = link.find('>', open);
    if (open == std::string_view::npos || close == std::string_view::npos) return "";
    std::string_view target = link.substr(open + 1, close - open - 1);
    link.remove_prefix(close + 1);
    const std::string_view parameters = link.substr(0, link.find('<'));
    const bool is_next = parameters.find("rel=\"next\"") != std::string_view::npos ||
                         parameters.find("rel=next") != std::string_view::npos;
    if (!is_next) continue;
    if (const auto scheme = target.find("://"); scheme != std::string_view::npos) {
      const auto path = target.find('/', scheme + 3);
      target = path == std::string_view::npos ? "/" : target.substr(path);
    }
    return std::string(target);
  }
  return "";
}

std::string field(const Json& object, std::string_view name) {
  const JsonObject* fields = object.if_object();
  const Json* value = fields != nullptr ? fields->if_contains(name) : nullptr;
  if (value == nullptr || value->is_null()) return "";
  if (value->is_string()) return std::string(value->get_string());
  return to_text(*value, answer_limits);
}

}  // namespace sojourn::cli
