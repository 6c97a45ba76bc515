#include "sojourn/cli/remote.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::cli {

namespace {

client::Options options_of(const Settings& settings) {
  client::Options options;
  options.url = settings.url;
  options.api_key = settings.api_key;
  options.timeout = options.read_timeout = settings.timeout;  // a call that is waited for may be silent all the time
  options.retries = 0;
  return options;
}

}  // namespace

Remote::Remote(const Settings& settings) : settings_(settings), client_(options_of(settings)) {}

void Remote::throw_told(const Error& error) const {
  if (error.code() == ErrorCode::connection_failed && error.details().empty()) {
    throw Error(error.code(),
                fmt::format("cannot reach the server: {} (url: {})", error.message(), settings_.value("url").source));
  }
  if (error.code() == ErrorCode::call_timeout) {
    throw Error(error.code(), fmt::format("{} did not answer within {} s (--timeout); what was asked may still go on",
                                          settings_.url, settings_.timeout.count()));
  }
  throw error;
}

std::string field(const Json& object, std::string_view name) {
  const JsonObject* fields = object.if_object();
  const Json* value = fields != nullptr ? fields->if_contains(name) : nullptr;
  if (value == nullptr || value->is_null()) return "";
  if (value->is_string()) return std::string(value->get_string());
  return to_text(*value, {.bytes = 64 * limits::mebibyte, .depth = limits::json_depth + 8});
}

}  // namespace sojourn::cli
