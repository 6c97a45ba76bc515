#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/order_operations_test.hpp"
#include "sojourn/runtime/order_world_test.hpp"

// One round of the property test: operations on a server and its successors, held against the model.
namespace sojourn::runtime::order {

class Round {
 public:
  Round(Loop& loop, store::Store& store, std::uint64_t seed) : loop_(loop), store_(store), random_(seed) {}

  std::vector<std::string> run(const std::vector<Operation>& operations);

  std::function<void()> stuck;  // says what a round was that cannot be taken down

 private:
  Async<void> play(const std::vector<Operation>& operations);
  Async<void> start();
  [[noreturn]] void give_up(std::string_view why) const;
  Async<void> act(Operation operation);
  void request(const Operation& operation);
  void begin_session(Request& request, const Operation& operation);
  void put_off(Request& request, const Operation& operation);
  void repeat_or_key(Request& request, const Operation& operation) const;
  static Async<void> call(Round* round, std::size_t number, Server* server);
  void answered(std::size_t number, std::optional<ErrorCode> error, std::optional<store::TaskRecord> answer,
                const std::optional<store::TaskRecord>& stored);
  void check_error(const Request& request, const Session& session);
  bool has_rival(const Request& request) const;
  void cancel(const Operation& operation);
  static Async<void> cancel_task(Round* round, std::string task, Server* server);
  static Async<void> ask(Round* round, Operation::Kind kind, std::size_t index, std::uint32_t number);
  Async<void> crash(bool calm);
  bool is_running(const Request& request) const;
  Async<void> restart();
  static Async<void> close_runtime(Server* server, Instant now, bool* closed);
  Async<void> close_server();
  void note_refused();
  Async<void> settle();
  Async<bool> is_cleaning_up();
  Async<void> pass(Microseconds time);
  Async<void> look();
  Async<void> look_at_calls_to_come(std::size_t session);
  void check_is_not_late(const Session& session, std::size_t number, Instant due);
  void check_status(Session& session, store::SessionStatus status, Instant now);
  Async<void> finish();
  Async<void> check_all();
  Async<void> check_session(std::string id);

  Loop& loop_;
  store::Store& store_;
  ManualClock clock_;
  SeededRandom random_;
  Log log_ = Log::silent();
  Model model_;
  std::unique_ptr<Server> server_;
  TaskGroup* callers_ = nullptr;
  std::set<Instant> alarms_;
  std::size_t step_ = 0;
  Instant trouble_{};         // the last time when a server began, or the store refused or held something
  bool is_stopping_ = false;  // what has left memory expires under the next server
  std::size_t writes_ = 0;
};

}  // namespace sojourn::runtime::order
