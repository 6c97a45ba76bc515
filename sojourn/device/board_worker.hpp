#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "sojourn/base/task_group.hpp"
#include "sojourn/device/board_pool.hpp"
#include "sojourn/device/board_threads.hpp"
#include "sojourn/session/app.hpp"

namespace sojourn::device {

// One session's board (board_app.hpp says what it does). Threads: the session's executor.
class BoardWorker final : public session::Worker {
 public:
  BoardWorker(std::shared_ptr<BoardPool> pool, BoardPool::Lease lease, Executor executor, Clock& clock,
              Random& random);

  // Errors: those of Link::run; the worker is closed then.
  Async<void> start(Instant deadline);

  Async<Json> call(session::CallScope& scope) override;
  void cancel() override { calls_.cancel(); }
  Async<void> close(session::CloseReason reason, Instant deadline) override;
  void kill(const Error& cause) override;
  JsonObject describe() const override;

 private:
  using Handler = Async<Json> (BoardWorker::*)(session::CallScope&, const JsonObject&, Instant);

  static const std::map<std::string, Handler, std::less<>>& handlers();

  Async<void> serve(session::CallScope& scope, Json& output, std::exception_ptr& failure);
  Async<Json> exec(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> eval(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> deploy(session::CallScope& scope, const JsonObject& input, Instant deadline);
  const Function& deployed(const JsonObject& input) const;
  Async<Json> call_function(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> start_thread(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> stop_thread(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> threads(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> put(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> get(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> sync(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> list(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> remove(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> info(session::CallScope& scope, const JsonObject& input, Instant deadline);
  Async<Json> reset(session::CallScope& scope, const JsonObject& input, Instant deadline);

  std::shared_ptr<BoardPool> pool_;
  BoardPool::Lease lease_;
  Clock& clock_;
  Board board_;
  BoardThreads threads_;
  std::map<std::string, Function, std::less<>> functions_;  // that were deployed, by name
  std::optional<Error> killed_;
  TaskGroup calls_;
};

}  // namespace sojourn::device
