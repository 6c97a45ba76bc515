#include "sojourn/server/run_body.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/fields.hpp"

namespace sojourn::server {

namespace {

constexpr Seconds longest_lifetime{366 * 24 * 3600};
constexpr Seconds longest_call{24 * 3600};

void read_session_fields(Fields& fields, runtime::RunRequest& request) {
  request.session_timeout = fields.seconds("session_timeout", limits::max_session_timeout);
  request.lifetime = fields.seconds("lifetime", longest_lifetime);
  request.setup = fields.any("setup");
  request.context = fields.object("context");
  request.labels = fields.object("labels");
  request.metadata = fields.object("metadata");
  request.user = fields.string("user_id");
  request.lifecycle = fields.string("lifecycle");
}

// Takes "namespace/name@version:function" apart.
void read_app(std::string app, runtime::RunRequest& request) {
  if (const auto colon = app.find(':'); colon != std::string::npos) {
    request.function = app.substr(colon + 1);
    app.resize(colon);
  }
  app.resize(std::min(app.size(), app.find('@')));
  request.app = std::move(app);
}

}  // namespace

runtime::RunRequest read_run_body(std::string_view body) {
  Fields fields(parse_json_object(body));
  runtime::RunRequest request;
  read_app(fields.string("app"), request);
  if (std::string function = fields.string("function"); !function.empty()) request.function = std::move(function);
  request.input = fields.any("input");
  request.session = fields.string("session");
  request.wait = fields.boolean("wait");
  request.call_timeout = fields.seconds("call_timeout", longest_call);
  request.run_at = fields.time("run_at");
  if (std::string url = fields.string("webhook"); !url.empty())
    request.webhook = store::Webhook{.url = std::move(url)};
  read_session_fields(fields, request);
  return request;
}

runtime::RunRequest read_session_body(std::string_view body) {
  Fields fields(body.empty() ? JsonObject() : parse_json_object(body));
  runtime::RunRequest request;
  read_app(fields.string("app"), request);
  request.warm = fields.boolean("warm");
  request.wait = fields.boolean("wait");
  request.call_timeout = fields.seconds("call_timeout", longest_call);
  read_session_fields(fields, request);
  return request;
}

std::string read_idempotency_key(const http::Request& request) {
  const auto key = request.headers.find("Idempotency-Key");
  if (!key) return "";
  if (key->empty() || key->size() > limits::idempotency_key_bytes || !is_valid_utf8(*key)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("an Idempotency-Key has 1 to {} bytes of UTF-8", limits::idempotency_key_bytes),
                {{"field", "Idempotency-Key"}});
  }
  return std::string(*key);
}

}  // namespace sojourn::server
