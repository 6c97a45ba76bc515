#include "sojourn/server/api.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/asio/ip/address.hpp>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/seed_routes.hpp"

namespace sojourn::server {

namespace {

constexpr unsigned blocking_threads = 1;

std::vector<std::string> split(std::string_view pattern) {
  std::vector<std::string> segments;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the slash
    const auto end = std::min(pattern.find('/'), pattern.size());
    if (end > 0) segments.emplace_back(pattern.substr(0, end));
    pattern.remove_prefix(end);
  }
  return segments;
}

// Whether `path` has the shape of `pattern`, whose segments in braces take any; those are captured. {path}
// at its end takes all that is left.
bool matches(const std::vector<std::string>& pattern, std::span<const std::string> path,
             std::vector<std::string>& captures) {
  const bool takes_rest = !pattern.empty() && pattern.back() == "{path}";
  if (takes_rest ? path.size() < pattern.size() : path.size() != pattern.size()) return false;
  captures.clear();
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (takes_rest && i + 1 == pattern.size()) {
      captures.push_back(fmt::format("{}", fmt::join(path.subspan(i), "/")));
    } else if (pattern[i].starts_with('{')) {
      captures.push_back(path[i]);
    } else if (pattern[i] != path[i]) {
      return false;
    }
  }
  return true;
}

// Whether "NAME:PORT" names a machine by its address, or this machine.
bool is_address_or_local(std::string_view host) {
  std::string_view name = host.substr(0, host.rfind(':'));
  if (host.starts_with('[')) name = host.substr(1, std::min(host.find(']'), host.size()) - 1);
  boost::system::error_code error;
  boost::asio::ip::make_address(std::string(name), error);
  return !error || name == "localhost" || name.ends_with(".localhost");
}

// The owner of a name may let it lead here, and a page from there is then no foreign one. Who has no key is known
// only by being on this machine, and needs no such name.
void refuse_other_names(const http::Request& request) {
  const auto host = request.headers.find("Host");
  if (!host || is_address_or_local(*host)) return;
  throw Error(ErrorCode::forbidden, fmt::format("a server without keys is not called {}: use 127.0.0.1 or localhost",
                                                to_valid_utf8(host->substr(0, 128))));
}

// A page in a browser may send requests here without its user's knowledge; it cannot hide where it is from.
void refuse_foreign_pages(const http::Request& request) {
  const auto origin = request.headers.find("Origin");
  if (!origin) return;
  const auto host = request.headers.find("Host");
  const auto scheme_end = origin->find("://");
  if (scheme_end == std::string_view::npos || !host || origin->substr(scheme_end + 3) != *host) {
    throw Error(ErrorCode::forbidden,
                fmt::format("pages of {} may not call this server", to_valid_utf8(origin->substr(0, 128))));
  }
}

// Passes an answer on and remembers its status.
class Watched final : public http::Responder {
 public:
  explicit Watched(http::Responder& inner) : inner_(inner) {}

  Async<void> send(http::Response response) override {
    status_ = response.status;
    return inner_.send(std::move(response));
  }
  Async<void> start(http::Response head, std::optional<std::uint64_t> length) override {
    status_ = head.status;
    return inner_.start(std::move(head), length);
  }
  Async<void> write(std::string chunk) override { return inner_.write(std::move(chunk)); }
  Async<std::string> read() override { return inner_.read(); }
  Async<void> client_gone() override { return inner_.client_gone(); }

  int status() const { return status_; }  // 0 before there is one

 private:
  http::Responder& inner_;
  int status_ = 0;
};

}  // namespace

struct Api::Route {
  http::Method method;
  std::vector<std::string> pattern;
  std::optional<Scope> scope;  // none: open to everyone
  Async<void> (Api::*handler)(Ask&);
  RouteCount count;
};

Api::Api(runtime::Runtime& runtime, store::Store& store, Clock& clock, ApiOptions options)
    : runtime_(runtime),
      store_(store),
      clock_(clock),
      options_(std::move(options)),
      service_(runtime, store, options_.audit_path),
      unmatched_{.route = "none"},
      blocking_(blocking_threads) {
  using http::Method;
  const auto add = [this](Method method, std::string_view pattern, std::optional<Scope> scope,
                          Async<void> (Api::*handler)(Ask&)) {
    routes_.push_back(
        {method, split(pattern), scope, handler, {.route = fmt::format("{} {}", http::to_string(method), pattern)}});
  };
  add(Method::post, "/apps/run", Scope::apps_execute, &Api::run);
  add(Method::post, "/run", Scope::apps_execute, &Api::run);
  add(Method::get, "/tasks/{id}", Scope::apps_read, &Api::get_task);
  add(Method::get, "/tasks/{id}/status", Scope::apps_read, &Api::get_task_status);
  add(Method::get, "/tasks/{id}/stream", Scope::apps_read, &Api::stream);
  add(Method::get, "/tasks/{id}/logs", Scope::apps_read, &Api::get_task_logs);
  add(Method::post, "/tasks/{id}/cancel", Scope::apps_execute, &Api::cancel_task);
  add(Method::post, "/sessions", Scope::apps_execute, &Api::create_session);
  add(Method::get, "/sessions", Scope::apps_read, &Api::list_sessions);
  add(Method::get, "/sessions/{id}", Scope::apps_read, &Api::get_session);
  add(Method::del, "/sessions/{id}", Scope::apps_execute, &Api::end_session);
  add(Method::post, "/sessions/{id}/keepalive", Scope::apps_execute, &Api::keepalive);
  add(Method::get, "/sessions/{id}/state", Scope::apps_read, &Api::get_state);
  add(Method::get, "/sessions/{id}/state/{key}", Scope::apps_read, &Api::get_state_value);
  add(Method::put, "/sessions/{id}/state/{key}", Scope::apps_execute, &Api::put_state_value);
  add(Method::del, "/sessions/{id}/state/{key}", Scope::apps_execute, &Api::delete_state_value);
  add(Method::get, "/sessions/{id}/events", Scope::apps_read, &Api::list_events);
  add(Method::get, "/sessions/{id}/stage", Scope::apps_read, &Api::get_stage);
  add(Method::put, "/sessions/{id}/stage", Scope::apps_execute, &Api::put_stage);
  if (options_.followers != nullptr) {
    add(Method::get, "/sessions/{id}/events/stream", Scope::apps_read, &Api::follow_events);
  }
  if (options_.artifacts != nullptr) {
    add(Method::get, "/sessions/{id}/artifacts", Scope::apps_read, &Api::list_artifacts);
    add(Method::put, "/sessions/{id}/artifacts/{path}", Scope::apps_execute, &Api::put_artifact);
    add(Method::get, "/sessions/{id}/artifacts/{path}", Scope::apps_read, &Api::get_artifact);
  }
  if (options_.journal_keys != nullptr) {
    add(Method::get, "/audit/key", std::nullopt, &Api::get_journal_keys);
    add(Method::get, "/sessions/{id}/export", Scope::apps_read, &Api::export_session);
  }
  add(Method::get, "/sessions/{id}/flow", Scope::apps_read, &Api::get_flow);
  add(Method::get, "/sessions/{id}/steps", Scope::apps_read, &Api::get_steps);
  add(Method::post, "/sessions/{id}/steps/{step}/start", Scope::apps_execute, &Api::start_step);
  add(Method::post, "/sessions/{id}/steps/{step}/finish", Scope::apps_execute, &Api::finish_step);
  add(Method::post, "/sessions/{id}/steps/{step}/fail", Scope::apps_execute, &Api::fail_step);
  add(Method::post, "/sessions/{id}/steps/{step}/report", Scope::apps_execute, &Api::report_step);
  add(Method::post, "/session/create", Scope::apps_execute, &Api::seed_create);
  add(Method::get, "/session/list", Scope::apps_read, &Api::seed_list);
  add(Method::get, "/session/{id}", Scope::apps_read, &Api::seed_get);
  add(Method::get, "/session/{id}/audit", Scope::apps_read, &Api::seed_audit);
  add(Method::get, "/apps", Scope::apps_read, &Api::list_apps);
  add(Method::get, "/apps/{name}", Scope::apps_read, &Api::get_app);
  add(Method::get, "/apps/{namespace}/{name}", Scope::apps_read, &Api::get_app);
  if (options_.files != nullptr) {
    add(Method::post, "/files", Scope::apps_execute, &Api::announce_files);
    add(Method::put, "/files/{id}", std::nullopt, &Api::upload_file);
    add(Method::get, "/files/{id}", Scope::apps_read, &Api::get_file);
    add(Method::del, "/files/{id}", Scope::apps_execute, &Api::delete_file);
  }
  add(Method::get, "/healthz", std::nullopt, &Api::healthz);
  add(Method::get, "/readyz", std::nullopt, &Api::readyz);
  add(Method::get, "/metrics", Scope::apps_read, &Api::metrics);
  add(Method::get, "/", std::nullopt, &Api::index);
}

Api::~Api() = default;

Async<void> Api::handle(http::Request request, http::Responder& responder) {
  Watched watched(responder);
  RouteCount* count = &unmatched_;
  try {
    Ask ask{.request = request, .responder = watched};
    co_await answer_in_shape(ask, count);
  } catch (...) {
    const int failed = info(to_error(std::current_exception()).code()).http_status;
    count->add(watched.status() != 0 ? watched.status() : failed);
    throw;
  }
  count->add(watched.status() != 0 ? watched.status() : 500);
}

// In whose shape an error is told is known before anything of the request is looked at.
Async<void> Api::answer_in_shape(Ask& ask, RouteCount*& count) {
  if (!is_seed_target(ask.request.target)) {
    co_await answer(ask, count);
    co_return;
  }
  std::optional<Error> failure;
  try {
    co_await answer(ask, count);
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) co_await ask.responder.send(seed_error_response(*failure));
}

Async<void> Api::answer(Ask& ask, RouteCount*& count) {
  ask.target = http::parse_target(ask.request.target);
  Route& route = find_route(ask);
  count = &route.count;
  refuse_foreign_pages(ask.request);
  if (!options_.keys) refuse_other_names(ask.request);
  if (route.scope) ask.caller = authenticate(ask.request, *route.scope);
  ask.bare = ask.request.headers.find("X-API-Version") == "2";
  co_await (this->*route.handler)(ask);
}

Api::Route& Api::find_route(Ask& ask) {
  std::span<const std::string> path = ask.target.path;
  if (!path.empty() && path.front() == "v1") path = path.subspan(1);
  const http::Method method = ask.request.method == http::Method::head ? http::Method::get : ask.request.method;
  // The first pattern that fits has the path to itself: /apps/run is spelled out before /apps/{name}, and is no app.
  const Route* first = nullptr;
  std::string allowed;
  for (Route& route : routes_) {
    if (first != nullptr ? route.pattern != first->pattern : !matches(route.pattern, path, ask.captures)) continue;
    if (route.method == method) return route;
    first = &route;
    if (!allowed.empty()) allowed += ", ";
    allowed += http::to_string(route.method);
  }
  const std::string target = to_valid_utf8(ask.request.target.substr(0, 256));
  if (allowed.empty()) throw Error(ErrorCode::not_found, fmt::format("there is nothing at {}", target));
  throw Error(ErrorCode::method_not_allowed,
              fmt::format("{} does not take {}; it takes {}", target, http::to_string(ask.request.method), allowed),
              {{"allow", allowed}});
}

Caller Api::authenticate(const http::Request& request, Scope needed) const {
  if (!options_.keys) return {.name = "local", .scopes = {Scope::admin}};
  const auto authorization = request.headers.find("Authorization");
  if (!authorization) throw Error(ErrorCode::unauthorized, "this server takes an API key");
  std::optional<Caller> caller = options_.keys->find(*authorization);
  if (!caller) throw Error(ErrorCode::unauthorized, "the API key is not known here");
  if (!caller->scopes.allow(needed)) {
    throw Error(ErrorCode::forbidden, fmt::format("the key '{}' lacks the scope {}", caller->name, to_string(needed)),
                {{"scope", to_string(needed)}});
  }
  return std::move(*caller);
}

Async<void> Api::list_apps(Ask& ask) {
  std::string json = "[";
  for (const session::AppInfo& app : runtime_.apps()) {
    if (json.size() > 1) json += ',';
    json += app_json(app, runtime_.describe_app(app.name));
  }
  json += ']';
  co_await ask.answer(200, std::move(json));
}

Async<void> Api::get_app(Ask& ask) {
  std::string name = ask.captures.at(0);
  if (ask.captures.size() > 1) name += "/" + ask.captures.at(1);
  co_await ask.answer(200, app_json(runtime_.app(name), runtime_.describe_app(name)));
}

Async<void> Api::healthz(Ask& ask) {
  co_await ask.responder.send({.body = R"({"status":"ok"})"});
}

Async<void> Api::readyz(Ask& ask) {
  if (runtime_.is_draining()) throw Error(ErrorCode::unavailable, "the server is stopping");
  if (options_.check_store) co_await options_.check_store();
  const runtime::Statistics statistics = runtime_.statistics();
  JsonObject ready{{"status", "ready"},
                   {"live_sessions", statistics.live_sessions},
                   {"workers", statistics.workers},
                   {"calls", statistics.calls}};
  for (const auto& [key, value] : options_.isolation()) ready[key] = value;
  co_await ask.responder.send({.body = to_text(ready)});
}

Async<void> Api::metrics(Ask& ask) {
  std::vector<const RouteCount*> routes;
  for (const Route& route : routes_) routes.push_back(&route.count);
  routes.push_back(&unmatched_);
  std::string text = co_await metrics_text(runtime_, options_.metrics, std::move(routes), clock_, blocking_);
  co_await ask.responder.send({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = std::move(text)});
}

Async<void> Api::index(Ask& ask) {
  JsonArray paths;
  for (const Route& route : routes_) paths.push_back(Json(route.count.route));
  co_await ask.responder.send(
      {.body = to_text(JsonObject{{"sojourn", "a session runtime"}, {"paths", std::move(paths)}})});
}

}  // namespace sojourn::server
