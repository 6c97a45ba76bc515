#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/random.hpp"
#include "sojourn/device/board_pool.hpp"
#include "sojourn/session/app.hpp"

// A board as what serves a session: a session has one to itself from its first call to its end, and what it leaves in
// the board's memory goes with it.
//
// The functions, and their inputs and outputs:
//
//   exec    {"code"}                           {"output"}, what it printed; each piece is emitted as {"printed"} too
//   eval    {"expression"}                     {"value"} (python_value.hpp says how values are JSON)
//   deploy  {"name", "source"}                 {"deployed": NAME}
//   call    {"name", "arguments": [...]}       {"value"}; "source" too, instead of deploying it before
//   thread_start  as call, and "period_ms", "max_runtime_ms", "restart_after_ms", "heartbeat_timeout_ms",
//                 "stop_timeout_ms"            {"thread": ID} (board_threads.hpp)
//   thread_stop   {"thread": ID}               {"stopped": ID}, once it has ended
//   threads       {}                           {"threads": [{"id", "name", "state", "beats", "printed", ...}]}
//   put     {"path", "text" or "base64"}       {"bytes"}
//   get     {"path"}                           {"base64", "bytes"}, and "text" where it is UTF-8
//   sync    {"files": {PATH: TEXT or {"base64"}}, "folder", "remove_others"}  {"sent", "removed", "kept"}
//   list    {"folder"}, default "."            {"files": [{"name", "size", "folder"}]}
//   remove  {"path"}                           {"removed": PATH}
//   info    {}                                 what it is and can do, and its "name"
//   reset   {"hard": false}                    {"reset": "soft" or "hard"}
namespace sojourn::device {

class BoardApp final : public session::App {
 public:
  // `board` is the one that it lends; nothing: any of them, and the app is called "board".
  // Lifetime: clock and random outlive it.
  BoardApp(std::shared_ptr<BoardPool> pool, Clock& clock, Random& random, std::optional<std::string> board);

  const session::AppInfo& info() const override { return info_; }
  JsonObject describe() const override;

  // Waits for a board, opens its wire and restarts its interpreter.
  // Errors: worker_leased; worker_start_failed where the board does not show its prompt.
  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant deadline) override;

 private:
  std::shared_ptr<BoardPool> pool_;  // shared by the apps that lend its boards, and their workers
  Clock& clock_;
  Random& random_;
  std::optional<std::string> board_;
  session::AppInfo info_;
};

// "board", which lends any, and one app for each, called as its board. Lifetime: as BoardApp.
std::vector<std::shared_ptr<session::App>> board_apps(std::vector<NamedBoard> boards, Clock& clock, Random& random);

}  // namespace sojourn::device
