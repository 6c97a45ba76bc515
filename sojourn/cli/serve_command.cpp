#include <fmt/format.h>

#include "sojourn/base/random.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/device/board_app.hpp"
#include "sojourn/server/serve.hpp"

namespace sojourn::cli {

ExitCode serve(const Settings& settings, Console& console) {
  SystemClock clock;
  SystemRandom random;
  const Log log(settings.log_level, settings.log_format);
  server::serve({.host = settings.listen_host,
                 .port = settings.listen_port,
                 .data = settings.data,
                 .sessions = settings.data_sessions_path,
                 .apps = settings.apps,
                 .lifecycles = settings.lifecycles,
                 .keys = settings.keys,
                 .worker_users = settings.worker_uids,
                 .drain_grace = settings.drain_grace,
                 .webhooks = {.key = settings.webhook_key, .allow_private = settings.webhook_allow_private},
                 .audit_reads = settings.audit_reads,
                 .retention = settings.retention,
                 .own_apps = device::board_apps(settings.boards, clock, random),
                 .on_ready =
                     [&](const std::string& address) {
                       console.out << fmt::format("listening on {}\n", address) << std::flush;
                     }},
                log);
  return ExitCode::ok;
}

}  // namespace sojourn::cli
