#pragma once

#include <memory>

#include "sojourn/base/log.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/manifest.hpp"
#include "sojourn/worker/supervisor.hpp"

// An app that is a program: each of its sessions is served by a process of its own.
namespace sojourn::worker {

// Threads: one executor, the supervisor's. Lifetime: longer than its workers.
class ProcessApp final : public session::App {
 public:
  ProcessApp(Manifest manifest, Supervisor& supervisor, Clock& clock, const Log& log);

  const session::AppInfo& info() const override { return manifest_.info; }
  const Manifest& manifest() const { return manifest_; }

  // Errors: those of App::open; details hold how the program ended and its last lines on standard error ("stderr").
  //         Nothing is left of it then.
  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant deadline) override;

 private:
  std::vector<std::string> environment(const session::Opening& opening) const;

  Manifest manifest_;
  Supervisor& supervisor_;
  Clock& clock_;
  const Log& log_;
};

}  // namespace sojourn::worker
