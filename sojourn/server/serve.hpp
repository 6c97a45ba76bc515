#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/log.hpp"
#include "sojourn/server/retention.hpp"
#include "sojourn/server/webhooks.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/worker_users.hpp"

// A whole Sojourn server: store, apps, runtime and HTTP, from start to graceful stop.
namespace sojourn::server {

struct ServeOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;  // 0 picks a free one
  std::filesystem::path data = "data";
  std::filesystem::path sessions;                   // where the sessions' folders are; "" for `sessions` in `data`
  std::filesystem::path apps = "apps";              // where it is missing there are no program apps
  std::filesystem::path lifecycles = "lifecycles";  // where it is missing there are those that are built in
  std::optional<std::filesystem::path> keys;
  worker::UserRange worker_users;  // an id of these for each worker; none: all have the server's
  Seconds drain_grace{10};         // how long running calls may take when the server stops
  WebhookOptions webhooks;         // without a key none are sent
  bool audit_reads = false;        // who reads a journal or an artefact stands in that journal
  RetentionRules retention;        // of sessions that are over

  // Apps in C++ that this program brings along, beside the programs in `apps`.
  std::vector<std::shared_ptr<session::App>> own_apps;  // owned by this and by the runtime
  // What the supervisor is started from: a program that runs worker::supervisor_main() when its one argument is
  // "supervise". Default: this program.
  std::string supervisor_program = "/proc/self/exe";
  std::function<void(const std::string& address)> on_ready = [](const std::string&) {};  // "http://HOST:PORT"
};

// Serves until SIGTERM or SIGINT, then takes no more calls, lets those that run finish within the grace, and closes
// every worker. A second signal does not wait for them.
// Errors: address_in_use, config_invalid (another address than loopback without keys, a broken lifecycle, ids for
//         workers beside sessions elsewhere, or sessions where another store has its own), store_locked,
//         store_read_only, store_corrupt, store_newer, io_error: before anything is served. A broken app.toml is
//         logged, not an error.
// Threads: call it on the main thread; it returns when all is closed.
void serve(const ServeOptions& options, const Log& log);

}  // namespace sojourn::server
