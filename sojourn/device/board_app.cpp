#include "sojourn/device/board_app.hpp"

#include <fmt/format.h>

#include <boost/asio/this_coro.hpp>

#include "sojourn/device/board_worker.hpp"

namespace sojourn::device {

BoardApp::BoardApp(std::shared_ptr<BoardPool> pool, Clock& clock, Random& random, std::optional<std::string> board)
    : pool_(std::move(pool)),
      clock_(clock),
      random_(random),
      board_(std::move(board)),
      info_{.name = board_.value_or("board"),
            .version = "1",
            .description = board_ ? "The MicroPython board " + *board_ : "Any free MicroPython board",
            .functions = {"exec", "eval", "deploy", "call", "thread_start", "thread_stop", "threads", "put", "get",
                          "sync", "list", "remove", "info", "reset"},
            .default_function = "exec"} {}

JsonObject BoardApp::describe() const {
  JsonArray boards;
  for (const NamedBoard& board : pool_->boards()) {
    if (board_ && board.name != *board_) continue;
    boards.push_back(JsonObject{{"name", board.name}, {"leased", board.leased}});
  }
  return {{"boards", std::move(boards)}, {"waiting", pool_->waiting()}};
}

Async<std::unique_ptr<session::Worker>> BoardApp::open(session::Opening, Instant deadline) {
  const auto executor = co_await boost::asio::this_coro::executor;
  BoardPool::Lease lease = co_await pool_->lease(board_, deadline);
  const std::string name = lease.board().name;
  auto worker = std::make_unique<BoardWorker>(pool_, std::move(lease), executor, clock_, random_);
  try {
    co_await worker->start(deadline);
  } catch (const Error& error) {
    throw Error(ErrorCode::worker_start_failed, fmt::format("board {}: {}", name, error.message()), error.details());
  }
  co_return worker;
}

std::vector<std::shared_ptr<session::App>> board_apps(std::vector<NamedBoard> boards, Clock& clock, Random& random) {
  std::vector<std::shared_ptr<session::App>> apps;
  if (boards.empty()) return apps;
  std::vector<std::string> names;
  for (const NamedBoard& board : boards) names.push_back(board.name);
  const auto pool = std::make_shared<BoardPool>(clock, std::move(boards));
  apps.push_back(std::make_shared<BoardApp>(pool, clock, random, std::nullopt));
  for (std::string& name : names) apps.push_back(std::make_shared<BoardApp>(pool, clock, random, std::move(name)));
  return apps;
}

}  // namespace sojourn::device
