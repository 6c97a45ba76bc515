#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/runtime/order_model_test.hpp"
#include "sojourn/store/forwarding_store.hpp"

// What the property test serves sessions with: an app whose calls it lets go on, and a store that it can crash,
// refuse and hold.
namespace sojourn::runtime::order {

// One server's way to the store. Others may follow it on the same one.
class Passage final : public store::ForwardingStore {
 public:
  explicit Passage(store::Store& store) : ForwardingStore(store) {}

  bool is_cut = false;            // the server crashed: nothing it asks for happens
  bool refuses = false;           // changes
  bool holds = false;             // commits, until `release`
  std::size_t under_way = 0;      // calls of the store that will return by themselves
  std::set<std::string> refused;  // sessions
  Event release;

  Async<void> create(store::NewSession session) override {
    check(session.record.id);
    const Way way(*this);
    co_await inner_.create(std::move(session));
  }
  Async<std::uint64_t> commit(store::Commit commit) override {
    if (holds) refused.insert(commit.session_id);
    while (holds) co_await release.wait();
    check(commit.session_id);
    const Way way(*this);
    co_return co_await inner_.commit(std::move(commit));
  }
  Async<store::Snapshot> adopt(std::string session_id, std::string owner) override {
    check(session_id);
    const Way way(*this);
    co_return co_await inner_.adopt(std::move(session_id), std::move(owner));
  }
  Async<std::optional<store::Snapshot>> load(std::string session_id) override {
    const Way way(*this);
    co_return co_await inner_.load(std::move(session_id));
  }
  Async<std::optional<store::TaskRecord>> task(std::string task_id) override {
    const Way way(*this);
    co_return co_await inner_.task(std::move(task_id));
  }
  Async<std::optional<store::TaskRecord>> task_by_key(std::string session_id, std::string key) override {
    const Way way(*this);
    co_return co_await inner_.task_by_key(std::move(session_id), std::move(key));
  }
  Async<std::string> session_opened_by(std::string key) override {
    const Way way(*this);
    co_return co_await inner_.session_opened_by(std::move(key));
  }
  Async<void> close() override { co_return; }

 private:
  struct Way {
    explicit Way(Passage& of) : passage(of) { ++passage.under_way; }
    ~Way() { --passage.under_way; }
    Passage& passage;
  };

  void check(const std::string& session) {
    if (is_cut) throw Error(ErrorCode::unavailable, "the server is gone");
    if (!refuses) return;
    refused.insert(session);
    throw Error(ErrorCode::store_full, "the disk is full");
  }
};

class OrderWorker;

// What all workers of a round share.
struct Floor {
  Model* model = nullptr;
  store::Store* store = nullptr;
  std::map<std::string, OrderWorker*> workers;  // by session
  std::set<std::string> lost;                   // sessions that lost a worker
  std::set<std::string> was_short;              // sessions for which the machine had no worker then
  bool next_open_fails = false;
  bool next_open_is_short = false;
  bool is_cut = false;      // the server crashed: its workers do nothing more
  std::size_t waiting = 0;  // calls that go on when they are told to
};

class OrderWorker final : public session::Worker {
 public:
  OrderWorker(Floor& floor, session::Opening opening)
      : floor_(floor), id_(std::move(opening.session_id)), events_(opening.events) {
    floor_.workers[id_] = this;
  }
  ~OrderWorker() override {
    if (floor_.workers[id_] == this) floor_.workers.erase(id_);
  }

  Async<Json> call(session::CallScope& scope) override {
    const std::size_t number = scope.request().input.at("call").to_number<std::size_t>();
    if (floor_.is_cut) throw Error(ErrorCode::worker_lost, "the server is gone");
    floor_.model->begin(number, id_, scope.request().task_id, busy_);
    busy_ = true;
    // The call before must be durable by now, or never have been.
    if (!last_task_.empty()) {
      ++floor_.model->asking;
      const auto last = co_await floor_.store->task(last_task_);
      --floor_.model->asking;
      if (last && !store::is_final(last->status)) floor_.model->fail("a call began before the last was durable");
    }
    last_task_ = scope.request().task_id;
    std::exception_ptr failure;
    Json output;
    try {
      output = co_await answer(scope);
    } catch (...) {
      failure = std::current_exception();
    }
    busy_ = false;
    if (failure) std::rethrow_exception(failure);
    co_return output;
  }

  Async<void> close(session::CloseReason, Instant) override { co_return; }

  void kill(const Error& cause) override {
    floor_.lost.insert(id_);
    killed_ = cause;
    changed_.notify_all();
  }

  bool is_waiting() const { return waiting_; }
  const std::string& task() const { return last_task_; }
  void let_go() {
    released_ = true;
    changed_.notify_all();
  }
  void look() { changed_.notify_all(); }

  // The process dies.
  void die() {
    const Error cause(ErrorCode::worker_lost, "the worker was killed by SIGKILL");
    if (busy_) {
      kill(cause);
    } else if (!std::exchange(told_, true)) {
      floor_.lost.insert(id_);
      events_->lost(cause);
    }
  }

 private:
  Async<Json> answer(session::CallScope& scope) {
    session::State& state = scope.session().state();
    const std::string& function = scope.request().function;
    const std::int64_t by = scope.request().input.at("by").to_number<std::int64_t>();
    const auto count = [&] { return state.get("count", 0).to_number<std::int64_t>(); };
    if (function == "hold" || function == "polite") co_await wait(scope, function == "polite");
    if (function == "add" || function == "hold" || function == "polite") state.set("count", count() + by);
    if (function == "forget") state.remove("count");
    if (function == "end") scope.end_session();
    if (function == "note") scope.record("app.note", {{"by", by}});
    if (function == "resource") {
      events_->resource_added({.id = std::to_string(by), .kind = "thing", .cleanup = cleanup(by)});
      if (by % 3 == 0) events_->resource_released(std::to_string(by));
    }
    if (function == "die") {
      floor_.lost.insert(id_);
      throw Error(ErrorCode::worker_lost, "the worker died");
    }
    if (function == "fail") {
      state.set("count", -1);
      scope.record("half.done", {});
      throw Error(ErrorCode::app_error, "as told");
    }
    if (function == "checkpoint") {
      state.set("count", count() + 1);
      co_await scope.checkpoint();
      state.set("count", -1);
      throw Error(ErrorCode::app_error, "after the checkpoint");
    }
    co_return count();
  }

  static Json cleanup(std::int64_t by) {
    if (by % 2 == 0) return nullptr;
    return JsonObject{{"path", "/tmp/sojourn-order-nowhere"}};
  }

  Async<void> wait(session::CallScope& scope, bool polite) {
    released_ = false;
    waiting_ = true;
    ++floor_.waiting;
    while (!released_ && !killed_ && !(polite && scope.cancel_requested())) co_await changed_.wait();
    --floor_.waiting;
    waiting_ = false;
    if (killed_) throw Error(*killed_);
    if (!released_) throw Error(ErrorCode::app_error, "stopped as asked");
  }

  Floor& floor_;
  std::string id_;
  session::WorkerEvents* events_;
  std::string last_task_;
  bool busy_ = false;
  bool waiting_ = false;
  bool released_ = false;
  bool told_ = false;
  std::optional<Error> killed_;
  Event changed_;
};

class OrderApp final : public session::App {
 public:
  OrderApp(std::string name, bool recover, Floor& floor) : floor_(floor) {
    info_ = {.name = std::move(name),
             .functions = {"add", "hold", "polite", "forget", "end", "note", "resource", "die", "fail", "checkpoint"},
             .default_function = "add",
             .session_timeout = Seconds(10),
             .call_timeout = Seconds(15),
             .queue_limit = 4,
             .recover = recover,
             .sleep_after = recover ? std::optional(Seconds(4)) : std::nullopt};
  }

  const session::AppInfo& info() const override { return info_; }

  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant) override {
    if (std::exchange(floor_.next_open_fails, false)) {
      floor_.lost.insert(opening.session_id);
      throw Error(ErrorCode::worker_start_failed, "the program exited with status 1");
    }
    if (std::exchange(floor_.next_open_is_short, false)) {
      floor_.was_short.insert(opening.session_id);
      throw Error(ErrorCode::unavailable, "no process is left");
    }
    co_return std::make_unique<OrderWorker>(floor_, std::move(opening));
  }

 private:
  session::AppInfo info_;
  Floor& floor_;
};

// One server between its start and its end.
struct Server {
  Server(Loop& loop, store::Store& store, Clock& clock, Random& random, const Log& log, Model& model)
      : passage(store), runtime(loop.executor(), passage, clock, random, log, Options{}) {
    floor.model = &model;
    floor.store = &store;
    runtime.add_app(std::make_shared<OrderApp>("keeps", true, floor));
    runtime.add_app(std::make_shared<OrderApp>("plain", false, floor));
  }

  Floor floor;
  Passage passage;
  Runtime runtime;
};

}  // namespace sojourn::runtime::order
