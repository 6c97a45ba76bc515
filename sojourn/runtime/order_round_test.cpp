#include "sojourn/runtime/order_round_test.hpp"

#include <cstdlib>
#include <iostream>

namespace sojourn::runtime::order {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;

std::vector<std::string> Round::run(const std::vector<Operation>& operations) {
  loop_.run(play(operations));
  return model_.wrong;
}

Async<void> Round::play(const std::vector<Operation>& operations) {
  TaskGroup callers(loop_.executor());
  callers_ = &callers;
  co_await start();
  for (const Operation& operation : operations) {
    ++step_;
    co_await act(operation);
    const bool goes_on_at_once = operation.kind == Operation::Kind::request && operation.d % 4 == 0;
    if (!goes_on_at_once) co_await look();
    if (!model_.wrong.empty()) break;
  }
  co_await finish();
  if (callers.size() != 0) give_up("a caller was never answered");
  co_await callers.join();
  co_await server_->runtime.close(clock_.instant());
  if (model_.wrong.empty()) co_await check_all();
  server_.reset();
}

Async<void> Round::start() {
  model_.clock = &clock_;
  trouble_ = clock_.instant();
  server_ = std::make_unique<Server>(loop_, store_, clock_, random_, log_, model_);
  co_await server_->runtime.recover();
}

// Nothing can be taken down while something waits for ever.
void Round::give_up(std::string_view why) const {
  std::cerr << why << '\n';
  for (const std::string& wrong : model_.wrong) std::cerr << wrong << '\n';
  if (stuck) stuck();
  std::abort();
}

Async<void> Round::act(Operation operation) {
  using Kind = Operation::Kind;
  switch (operation.kind) {
    case Kind::request:
      request(operation);
      co_return;
    case Kind::cancel:
      cancel(operation);
      co_return;
    case Kind::end:
    case Kind::keepalive:
    case Kind::write:
      if (!model_.sessions.empty()) {
        callers_->spawn(ask(this, operation.kind, operation.a % model_.sessions.size(), operation.b));
      }
      co_return;
    case Kind::pass: {
      static constexpr Microseconds times[] = {100ms, 1s, 2s, 5s, 9'999'999us, 10s, 30s};
      co_await pass(times[operation.a % std::size(times)]);
      co_return;
    }
    case Kind::let_go:
      for (const auto& [id, worker] : server_->floor.workers) {
        if (worker->is_waiting()) worker->let_go();
      }
      co_return;
    case Kind::lose:
      if (!server_->floor.workers.empty()) {
        const auto worker = std::next(server_->floor.workers.begin(),
                                      static_cast<std::ptrdiff_t>(operation.a % server_->floor.workers.size()));
        worker->second->die();
      }
      co_return;
    case Kind::crash:
      co_await crash(operation.a % 2 == 0);
      co_return;
    case Kind::restart:
      co_await restart();
      co_return;
    case Kind::refuse:
      server_->passage.refuses = !server_->passage.refuses;
      co_return;
    case Kind::hold:
      server_->passage.holds = !server_->passage.holds;
      server_->passage.release.notify_all();
      co_return;
    case Kind::misopen:
      (operation.a % 2 == 0 ? server_->floor.next_open_fails : server_->floor.next_open_is_short) = true;
      co_return;
  }
}

void Round::request(const Operation& operation) {
  static constexpr std::string_view functions[] = {"add",  "add",  "add",      "hold", "hold",   "polite",
                                                   "fail", "note", "resource", "die",  "forget", "checkpoint",
                                                   "end",  "nope", "add",      "add"};
  Request request;
  request.number = request.same_as = model_.requests.size();
  request.step = step_;
  request.function = functions[operation.b % std::size(functions)];
  request.argument = 1 + operation.b / 64 % 9;
  request.wait = operation.c % 3 != 0;
  const std::size_t choice = operation.a % (std::min<std::size_t>(model_.sessions.size(), 4) + 1);
  if (choice > 0 && !model_.sessions[model_.sessions.size() - choice].id.empty()) {
    request.session = model_.sessions.size() - choice;
    request.app = model_.sessions[request.session].app;
    if (operation.c / 8 % 3 == 0) repeat_or_key(request, operation);
  } else {
    begin_session(request, operation);
  }
  put_off(request, operation);
  if (request.function == "end") model_.sessions[request.session].was_ended = true;
  model_.requests.push_back(request);
  model_.calls.emplace_back();
  callers_->spawn(call(this, request.number, server_.get()));
}

void Round::begin_session(Request& request, const Operation& operation) {
  request.session = model_.sessions.size();
  request.app = operation.d % 3 == 0 ? "plain" : "keeps";
  Session session{.app = request.app, .one_call = operation.d / 4 % 5 == 0, .idle = 10s};
  if (operation.d / 32 % 3 == 0) session.lifetime_end = clock_.instant() + 25s;
  session.was_ended = session.one_call;
  session.last_active = session.surely_active = session.durably_active = clock_.instant();
  model_.sessions.push_back(std::move(session));
}

// Gives the request a later time, or a webhook, unless it repeats one that has its own.
void Round::put_off(Request& request, const Operation& operation) {
  static constexpr Microseconds times[] = {1s, 2s, 3s, 8s, 8s, 20s};
  request.has_webhook = operation.d / 8'192 % 4 == 0;
  if (request.same_as == request.number && operation.d / 128 % 5 == 0) {
    request.run_at = clock_.now() + times[operation.d / 1'024 % std::size(times)];
  }
  if (!request.run_at) return;
  request.wait = false;
  const Instant due = model_.instant_of(*request.run_at);
  if (due <= clock_.instant()) return;
  alarms_.insert(due);
  model_.sessions[request.session].perhaps.insert(request.number);
}

void Round::repeat_or_key(Request& request, const Operation& operation) const {
  request.key = operation.c / 32 % 2 == 0 ? "x" : "y";
  const auto first = std::ranges::find_if(model_.requests, [&](const Request& earlier) {
    return earlier.session == request.session && earlier.key == request.key;
  });
  if (first == model_.requests.end() || operation.c / 64 % 3 == 0) return;
  request.function = first->function;
  request.argument = first->argument;
  request.same_as = first->same_as;
  request.run_at = first->run_at;
}

Async<void> Round::call(Round* round, std::size_t number, Server* server) {
  const Request asked = round->model_.requests[number];
  const Session session = round->model_.sessions[asked.session];
  RunRequest request{.app = asked.app,
                     .function = asked.function,
                     .input = asked.input(),
                     .session = !session.id.empty() ? session.id
                                : session.one_call  ? ""
                                                    : "new",
                     .idempotency_key = asked.key,
                     .wait = asked.wait,
                     .run_at = asked.run_at};
  if (asked.has_webhook) request.webhook = store::Webhook{.url = "http://told/", .origin = "http://told:80"};
  if (session.lifetime_end && session.id.empty()) request.lifetime = 25s;
  std::optional<ErrorCode> error;
  std::optional<store::TaskRecord> answer;
  try {
    answer = (co_await server->runtime.run(std::move(request))).task;
  } catch (const Error& failure) {
    error = failure.code();
  }
  if (round->model_.requests[number].is_cut) co_return;
  std::optional<store::TaskRecord> stored;
  ++round->model_.asking;
  if (answer) stored = co_await round->store_.task(answer->id);
  --round->model_.asking;
  round->answered(number, error, std::move(answer), stored);
}

void Round::cancel(const Operation& operation) {
  if (model_.requests.empty()) return;
  const Request& request = model_.requests[operation.a % model_.requests.size()];
  Call& call = model_.calls[request.same_as];
  if (call.task.empty()) return;
  call.cancel_asked = true;
  alarms_.insert(clock_.instant() + 2s);
  callers_->spawn(cancel_task(this, call.task, server_.get()));
}

Async<void> Round::cancel_task(Round* round, std::string task, Server* server) {
  try {
    co_await server->runtime.cancel(std::move(task));
    for (const auto& [id, worker] : server->floor.workers) worker->look();
  } catch (const Error& error) {
    // One that waits for its time brings its session back first.
    const bool refused = server->passage.refuses || server->floor.is_cut;
    if (error.code() != ErrorCode::task_not_found && !refused) {
      round->model_.fail(fmt::format("cancelling failed with {}", info(error.code()).wire));
    }
  }
}

Async<void> Round::ask(Round* round, Operation::Kind kind, std::size_t index, std::uint32_t number) {
  Server* server = round->server_.get();
  const std::string id = round->model_.sessions[index].id;
  if (id.empty()) co_return;
  const std::size_t written = ++round->writes_;
  // Not what calls come to: a write of what is there already changes nothing.
  const std::int64_t value = 1'000'000 * static_cast<std::int64_t>(written);
  bool done = true;
  try {
    if (kind == Operation::Kind::keepalive) co_await server->runtime.keepalive(id, "me");
    if (kind == Operation::Kind::end) {
      round->model_.sessions[index].was_ended = true;
      round->alarms_.insert(round->clock_.instant() + 2s);
      co_await server->runtime.end_session(id, "me");
    }
    if (kind == Operation::Kind::write) {
      round->model_.sessions[index].writes[hash_of(value)] = value;
      co_await server->runtime.change_state(id, {{number % 2 == 0 ? "count" : "other", Json(value)}}, "me");
    }
  } catch (const Error&) {
    done = false;
  }
  if (!done || server->floor.is_cut) co_return;
  if (kind == Operation::Kind::end) round->model_.sessions[index].is_ended = true;
  round->model_.touched.insert(id);
}

// As kill -9 does to a server; `calm`: nothing is on its way to the store just then.
Async<void> Round::crash(bool calm) {
  if (calm) co_await settle();
  for (Session& session : model_.sessions) session.may_fail = true;
  Server& dead = *server_;
  dead.floor.is_cut = dead.passage.is_cut = true;
  dead.passage.holds = false;
  dead.passage.release.notify_all();
  // What the store knew of a session that was busy with a call which nobody had been promised, is older. One in which
  // something began since the last look may be.
  for (Session& session : model_.sessions) {
    const bool was_touched = model_.touched.erase(session.id) > 0;
    if (!std::exchange(session.busy, false) && !was_touched) continue;
    session.surely_active = session.durably_active;
    session.last_active = clock_.instant();
  }
  for (Request& request : model_.requests) {
    if (request.returned && !request.wait && is_running(request)) {
      model_.sessions[request.session].surely_active = clock_.instant();
    }
    request.is_cut = request.is_cut || !request.returned;
  }
  for (const auto& [id, worker] : dead.floor.workers) worker->kill(Error(ErrorCode::worker_lost, "crash"));
  note_refused();
  co_await close_server();
  co_await start();
}

bool Round::is_running(const Request& request) const {
  const auto worker = server_->floor.workers.find(model_.sessions[request.session].id);
  return worker != server_->floor.workers.end() && worker->second->is_waiting() &&
         worker->second->task() == model_.calls[request.same_as].task;
}

Async<void> Round::restart() {
  for (Session& session : model_.sessions) session.may_fail = true;
  server_->passage.holds = false;
  server_->passage.release.notify_all();
  alarms_.insert(clock_.instant() + 2s);
  note_refused();
  co_await close_server();
  co_await start();
}

Async<void> Round::close_runtime(Server* server, Instant now, bool* closed) {
  co_await server->runtime.close(now);
  *closed = true;
}

Async<void> Round::close_server() {
  bool closed = false;
  TaskGroup closing(loop_.executor());
  closing.spawn(close_runtime(server_.get(), clock_.instant(), &closed));
  co_await settle();
  if (!closed && !server_->floor.is_cut) {
    is_stopping_ = true;  // a server that stops begins nothing, also what waited for a store that held it up
    co_await look();
    clock_.advance(2s);
    co_await look();
    is_stopping_ = false;
  }
  // Threads may be cleaning up after lost workers, on a machine that is busy.
  const auto patience = std::chrono::steady_clock::now() + 60s;
  while (!closed && std::chrono::steady_clock::now() < patience) co_await settle();
  if (!closed) give_up("a server does not stop");
  co_await closing.join();
  while (callers_->size() != 0 && std::chrono::steady_clock::now() < patience) co_await settle();
  note_refused();
  if (callers_->size() != 0) give_up("a caller of a server that stopped was never answered");
  server_.reset();
}

// Lets everything happen that can without time passing.
Async<void> Round::settle() {
  do {
    int calm = 0;
    while (calm < 60) {
      co_await boost::asio::post(loop_.executor(), boost::asio::use_awaitable);
      calm = server_->passage.under_way + model_.asking == 0 ? calm + 1 : 0;
    }
  } while (co_await is_cleaning_up());
}

Async<void> Round::pass(Microseconds time) {
  co_await look();
  const Instant end = clock_.instant() + time;
  while (clock_.instant() < end) {
    Instant next = end;
    for (const Session& session : model_.sessions) {
      const auto due = session.due();
      if (due && *due > clock_.instant()) next = std::min(next, *due);
    }
    const auto alarm = alarms_.upper_bound(clock_.instant());
    if (alarm != alarms_.end()) next = std::min(next, *alarm);
    const auto step = std::chrono::ceil<Microseconds>(next - clock_.instant());
    if (step > 1us) {
      clock_.advance(step - 1us);
      co_await look();
    }
    clock_.advance(1us);
    co_await look();
  }
}

// Lets everything come to its end, under a server that starts anew.
Async<void> Round::finish() {
  server_->passage.refuses = false;
  server_->passage.holds = false;
  server_->passage.release.notify_all();
  for (int i = 0; i < 10 && server_->floor.waiting > 0; ++i) {
    for (const auto& [id, worker] : server_->floor.workers) worker->let_go();
    co_await settle();
  }
  clock_.advance(2s);
  co_await settle();
  co_await restart();
  co_await settle();
  for (int i = 0; i < 10 && server_->floor.waiting > 0; ++i) {
    for (const auto& [id, worker] : server_->floor.workers) worker->let_go();
    co_await settle();
  }
  note_refused();
}

}  // namespace sojourn::runtime::order
