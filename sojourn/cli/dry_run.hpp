#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/cli/scratch_folder.hpp"
#include "sojourn/worker/process_app.hpp"

// An app without a server: its program is started, called and closed for one session that keeps nothing.
namespace sojourn::cli {

// Threads: the executor's one.
class DryRun {
 public:
  // Hears each line that the program writes or logs; `stream` is "stdout", "stderr" or "app".
  using Listener = std::function<void(std::string_view stream, std::string_view line)>;

  // `folder` is the session's, absolute; "" for one that goes with this.
  DryRun(worker::Manifest manifest, Executor executor, const std::string& folder = "", Listener listener = {});
  ~DryRun();  // after end()

  const session::AppInfo& info() const { return app_.info(); }
  bool offers(std::string_view function) const;
  const std::string& folder() const { return folder_; }

  // Starts the program. Errors: those of ProcessApp::open.
  Async<void> open();

  // Makes one call, and ends the worker at its call_timeout. Errors: what the call fails with.
  Async<Json> call(std::string function, Json input);

  // Asks the worker to close. Errors: what went wrong, also before: the worker's loss.
  Async<void> close();

  // Ends what is left, and cleans up what the worker had not released when it died. Idempotent.
  Async<void> end();

  // What of that could not be cleaned up: one sentence for each.
  const std::vector<std::string>& leaked() const { return leaked_; }

  // The first line on standard output, where nothing should be.
  const std::optional<std::string>& printed() const;

 private:
  class Events;

  SystemClock clock_;
  Log log_ = Log::silent();
  worker::Isolation isolation_;
  Executor executor_;
  std::optional<ScratchFolder> scratch_;
  std::string folder_;
  worker::Supervisor supervisor_;
  worker::ProcessApp app_;
  std::unique_ptr<Events> events_;
  std::unique_ptr<session::Worker> worker_;
  std::vector<std::string> leaked_;
};

}  // namespace sojourn::cli
