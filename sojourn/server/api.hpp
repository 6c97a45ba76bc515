#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/http/server.hpp"
#include "sojourn/runtime/session_service.hpp"
#include "sojourn/server/api_keys.hpp"
#include "sojourn/server/files.hpp"
#include "sojourn/server/journal_followers.hpp"
#include "sojourn/server/metrics.hpp"
#include "sojourn/server/task_stream.hpp"
#include "sojourn/server/webhooks.hpp"

// The HTTP interface: finds the route of a request, checks who asks, and answers in the shapes of wire.hpp.
namespace sojourn::server {

class Artifacts;
struct JournalKeys;

struct ApiOptions {
  std::optional<ApiKeys> keys;  // none: everyone who can connect may do everything
  StreamTimes stream;
  std::function<JsonObject()> isolation = [] { return JsonObject(); };  // of workers: /readyz tells it
  std::function<Async<void>()> check_store;  // /readyz fails with it; none: nothing to check
  MetricSources metrics;
  Files* files = nullptr;                     // none: no routes for files
  Webhooks* webhooks = nullptr;               // none: refused
  Artifacts* artifacts = nullptr;             // none: no routes for artefacts
  bool audit_reads = false;                   // who reads a journal or an artefact stands in that journal
  JournalFollowers* followers = nullptr;      // none: no journal can be followed
  const JournalKeys* journal_keys = nullptr;  // none: journals are not signed, nor sessions exported
  // Where a session's folder is or will be, for seed 001's `audit_path`.
  std::function<std::string(const std::string& id)> audit_path = [](const std::string& id) { return id; };
};

// Threads: the runtime's executor.
class Api {
 public:
  Api(runtime::Runtime& runtime, store::Store& store, Clock& clock, ApiOptions options);
  ~Api();

  // Answers one request. Errors: any; the caller answers them by error_response().
  Async<void> handle(http::Request request, http::Responder& responder);

 private:
  struct Ask;
  struct Route;

  Async<void> answer(Ask& ask, RouteCount*& count);
  Async<void> answer_in_shape(Ask& ask, RouteCount*& count);
  Route& find_route(Ask& ask);
  Caller authenticate(const http::Request& request, Scope needed) const;

  void check_files_last(const runtime::RunRequest& request) const;

  Async<void> run(Ask& ask);
  Async<void> get_task(Ask& ask);
  Async<void> get_task_status(Ask& ask);
  Async<void> stream(Ask& ask);
  Async<void> get_task_logs(Ask& ask);
  Async<void> cancel_task(Ask& ask);
  Async<void> create_session(Ask& ask);
  Async<void> list_sessions(Ask& ask);
  Async<void> get_session(Ask& ask);
  Async<void> keepalive(Ask& ask);
  Async<void> end_session(Ask& ask);
  Async<void> get_state(Ask& ask);
  Async<void> get_state_value(Ask& ask);
  Async<void> put_state_value(Ask& ask);
  Async<void> delete_state_value(Ask& ask);
  Async<void> list_events(Ask& ask);
  Async<void> seed_create(Ask& ask);
  Async<void> seed_list(Ask& ask);
  Async<void> seed_get(Ask& ask);
  Async<void> seed_audit(Ask& ask);
  Async<void> get_stage(Ask& ask);
  Async<void> put_stage(Ask& ask);
  Async<void> follow_events(Ask& ask);
  Async<void> get_journal_keys(Ask& ask);
  Async<void> export_session(Ask& ask);
  Async<void> note_read(const Ask& ask, std::string what);
  Async<void> list_artifacts(Ask& ask);
  Async<void> put_artifact(Ask& ask);
  Async<void> get_artifact(Ask& ask);
  Async<void> get_flow(Ask& ask);
  Async<void> get_steps(Ask& ask);
  Async<void> change_step(Ask& ask, session::StepChange::Kind kind);
  Async<void> start_step(Ask& ask);
  Async<void> finish_step(Ask& ask);
  Async<void> fail_step(Ask& ask);
  Async<void> report_step(Ask& ask);
  Async<void> list_apps(Ask& ask);
  Async<void> get_app(Ask& ask);
  Async<void> announce_files(Ask& ask);
  Async<void> upload_file(Ask& ask);
  Async<void> get_file(Ask& ask);
  Async<void> delete_file(Ask& ask);
  Async<void> healthz(Ask& ask);
  Async<void> readyz(Ask& ask);
  Async<void> metrics(Ask& ask);
  Async<void> index(Ask& ask);

  runtime::Runtime& runtime_;
  store::Store& store_;
  Clock& clock_;
  ApiOptions options_;
  runtime::SessionService service_;
  std::vector<Route> routes_;
  RouteCount unmatched_;  // requests that no route took
  BlockingPool blocking_;
  std::size_t exports_ = 0;  // that run
};

}  // namespace sojourn::server
