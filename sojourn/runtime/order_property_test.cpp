#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/runtime/order_operations_test.hpp"
#include "sojourn/runtime/order_world_test.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/sqlite_store.hpp"

// Order and promises under random interleavings, on virtual time. SOJOURN_SEED runs one round again, SOJOURN_ROUNDS
// says how many. A round that goes wrong is shrunk to the operations it takes, which are printed.
namespace sojourn::runtime::order {

namespace {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;

class Round {
 public:
  Round(Loop& loop, store::Store& store, std::uint64_t seed) : loop_(loop), store_(store), random_(seed) {}

  std::vector<std::string> run(const std::vector<Operation>& operations) {
    loop_.run(play(operations));
    return model_.wrong;
  }

 private:
  Async<void> play(const std::vector<Operation>& operations) {
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

  Async<void> start() {
    server_ = std::make_unique<Server>(loop_, store_, clock_, random_, log_, model_);
    co_await server_->runtime.recover();
  }

  // Nothing can be taken down while something waits for ever.
  [[noreturn]] void give_up(std::string_view why) const {
    std::cerr << why << '\n';
    for (const std::string& wrong : model_.wrong) std::cerr << wrong << '\n';
    if (stuck) stuck();
    std::abort();
  }

  Async<void> act(Operation operation) {
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

  void request(const Operation& operation) {
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
    if (request.function == "end") model_.sessions[request.session].was_ended = true;
    model_.requests.push_back(request);
    model_.calls.emplace_back();
    callers_->spawn(call(this, request.number, server_.get()));
  }

  void begin_session(Request& request, const Operation& operation) {
    request.session = model_.sessions.size();
    request.app = operation.d % 3 == 0 ? "plain" : "keeps";
    Session session{.app = request.app, .one_call = operation.d / 4 % 5 == 0, .idle = 10s};
    if (operation.d / 32 % 3 == 0) session.lifetime_end = clock_.instant() + 25s;
    session.was_ended = session.one_call;
    session.last_active = session.surely_active = session.durably_active = clock_.instant();
    model_.sessions.push_back(std::move(session));
  }

  void repeat_or_key(Request& request, const Operation& operation) const {
    request.key = operation.c / 32 % 2 == 0 ? "x" : "y";
    const auto first = std::ranges::find_if(model_.requests, [&](const Request& earlier) {
      return earlier.session == request.session && earlier.key == request.key;
    });
    if (first == model_.requests.end() || operation.c / 64 % 3 == 0) return;
    request.function = first->function;
    request.argument = first->argument;
    request.same_as = first->same_as;
  }

  static Async<void> call(Round* round, std::size_t number, Server* server) {
    const Request asked = round->model_.requests[number];
    const Session session = round->model_.sessions[asked.session];
    RunRequest request{.app = asked.app,
                       .function = asked.function,
                       .input = asked.input(),
                       .session = !session.id.empty() ? session.id
                                  : session.one_call  ? ""
                                                      : "new",
                       .idempotency_key = asked.key,
                       .wait = asked.wait};
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

  void answered(std::size_t number, std::optional<ErrorCode> error, std::optional<store::TaskRecord> answer,
                const std::optional<store::TaskRecord>& stored) {
    Request& request = model_.requests[number];
    Session& session = model_.sessions[request.session];
    request.returned = true;
    request.error = error;
    request.answer = std::move(answer);
    if (!request.answer) {
      check_error(request, session);
      return;
    }
    if (session.id.empty()) session.id = request.answer->session_id;
    if (request.answer->created_at == clock_.now()) model_.touched.insert(session.id);
    if (server_->passage.refused.contains(session.id)) session.is_murky = true;
    model_.check_answer(request);
    if (session.is_murky) return;
    if (!stored) {
      model_.fail(fmt::format("request {} was answered before it was durable", number));
    } else if (request.wait && *stored != *request.answer) {
      model_.fail(fmt::format("request {} was answered with what is not stored", number));
    }
  }

  // An error, and no task: only for a reason.
  void check_error(const Request& request, const Session& session) {
    const ErrorCode code = *request.error;
    if (model_.calls[request.same_as].begun > 0 && request.same_as == request.number && !session.is_murky &&
        !server_->passage.refused.contains(session.id)) {
      model_.fail(fmt::format("request {} was refused and runs", request.number));
    }
    const bool refused =
        server_->passage.refuses || server_->passage.holds || session.is_murky || !server_->passage.refused.empty();
    const bool ending = session.was_ended || session.lifetime_end || session.may_fail || session.one_call;
    const bool right =
        refused || (code == ErrorCode::function_not_found && request.function == "nope") ||
        code == ErrorCode::queue_full || (code == ErrorCode::idempotency_mismatch && has_rival(request)) ||
        (code == ErrorCode::session_expired && session.status != SessionStatus::ended) ||
        (code == ErrorCode::session_ended && session.was_ended) ||
        (code == ErrorCode::worker_lost && (session.may_fail || server_->floor.lost.contains(session.id))) ||
        (code == ErrorCode::unavailable && ending);
    if (!right) model_.fail(fmt::format("request {} failed with {}", request.number, info(code).wire));
  }

  // Whether another request may have had its key before.
  bool has_rival(const Request& request) const {
    return std::ranges::any_of(model_.requests, [&](const Request& other) {
      return !request.key.empty() && other.session == request.session && other.key == request.key &&
             other.same_as != request.same_as && !other.error;
    });
  }

  void cancel(const Operation& operation) {
    if (model_.requests.empty()) return;
    const Request& request = model_.requests[operation.a % model_.requests.size()];
    Call& call = model_.calls[request.same_as];
    if (call.task.empty()) return;
    call.cancel_asked = true;
    alarms_.insert(clock_.instant() + 2s);
    callers_->spawn(cancel_task(this, call.task, server_.get()));
  }

  static Async<void> cancel_task(Round* round, std::string task, Server* server) {
    try {
      co_await server->runtime.cancel(std::move(task));
      for (const auto& [id, worker] : server->floor.workers) worker->look();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::task_not_found) round->model_.fail("cancelling failed");
    }
  }

  static Async<void> ask(Round* round, Operation::Kind kind, std::size_t index, std::uint32_t number) {
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
  Async<void> crash(bool calm) {
    if (calm) co_await settle();
    for (Session& session : model_.sessions) session.may_fail = true;
    Server& dead = *server_;
    dead.floor.is_cut = dead.passage.is_cut = true;
    dead.passage.holds = false;
    dead.passage.release.notify_all();
    // What the store knew of a session that was busy with a call which nobody had been promised, is older.
    for (Session& session : model_.sessions) {
      if (!std::exchange(session.busy, false)) continue;
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

  bool is_running(const Request& request) const {
    const auto worker = server_->floor.workers.find(model_.sessions[request.session].id);
    return worker != server_->floor.workers.end() && worker->second->is_waiting() &&
           worker->second->task() == model_.calls[request.same_as].task;
  }

  Async<void> restart() {
    for (Session& session : model_.sessions) session.may_fail = true;
    server_->passage.holds = false;
    server_->passage.release.notify_all();
    alarms_.insert(clock_.instant() + 2s);
    note_refused();
    co_await close_server();
    co_await start();
  }

  static Async<void> close_runtime(Server* server, Instant now, bool* closed) {
    co_await server->runtime.close(now);
    *closed = true;
  }

  Async<void> close_server() {
    bool closed = false;
    TaskGroup closing(loop_.executor());
    closing.spawn(close_runtime(server_.get(), clock_.instant(), &closed));
    co_await settle();
    if (!closed && !server_->floor.is_cut) {
      co_await look();
      is_stopping_ = true;
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

  void note_refused() {
    for (Session& session : model_.sessions) {
      session.is_murky = session.is_murky || server_->passage.refused.contains(session.id);
      session.may_fail = session.may_fail || server_->floor.lost.contains(session.id);
      session.was_short = session.was_short || server_->floor.was_short.contains(session.id);
    }
  }

  // Lets everything happen that can without time passing.
  Async<void> settle() {
    do {
      int calm = 0;
      while (calm < 60) {
        co_await boost::asio::post(loop_.executor(), boost::asio::use_awaitable);
        calm = server_->passage.under_way + model_.asking == 0 ? calm + 1 : 0;
      }
    } while (co_await is_cleaning_up());
  }

  // What lost workers left is cleaned up by threads of the runtime's.
  Async<bool> is_cleaning_up() {
    if (server_->passage.holds || server_->floor.is_cut) co_return false;
    const std::set<std::string> lost = server_->floor.lost;
    for (const std::string& id : lost) {
      const auto worker = server_->floor.workers.find(id);
      const bool is_waiting = worker != server_->floor.workers.end() && worker->second->is_waiting();
      if (!is_waiting && (co_await server_->runtime.session(id)).busy) co_return true;
    }
    co_return false;
  }

  Async<void> pass(Microseconds time) {
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

  // Settles, and holds what became of each session against what should have.
  Async<void> look() {
    co_await settle();
    note_refused();
    const Instant now = clock_.instant();
    for (std::size_t i = 0; i < model_.sessions.size(); ++i) {
      const std::string id = model_.sessions[i].id;
      if (id.empty() || model_.sessions[i].status != SessionStatus::active) continue;
      const auto stored = co_await store_.load(id);
      Session& session = model_.sessions[i];
      const auto worker = server_->floor.workers.find(id);
      const bool is_busy = worker != server_->floor.workers.end() && worker->second->is_waiting();
      if (is_busy && !session.busy) {
        alarms_.insert(now + 15s);
        alarms_.insert(now + 17s);
      }
      if (session.busy || is_busy || model_.touched.contains(id)) session.last_active = session.surely_active = now;
      if (!is_busy && (session.busy || model_.touched.contains(id))) session.durably_active = now;
      session.busy = is_busy;
      if (!stored) {
        model_.fail("a session is gone");
      } else if (!session.is_murky) {
        check_status(session, stored->record.head.status, now);
      }
    }
    model_.touched.clear();
  }

  void check_status(Session& session, SessionStatus status, Instant now) {
    session.status = status;
    const std::optional<Instant> due = session.due();
    if (status == SessionStatus::active) {
      if (due && *due <= now && !session.busy && !server_->passage.holds && !is_stopping_)
        model_.fail(fmt::format("a session of {} outlives its time by {} us{}", session.app,
                                std::chrono::duration_cast<Microseconds>(now - *due).count(),
                                session.lifetime_end ? ", with a lifetime" : ""));
      if (session.is_ended) model_.fail("a session lives after its end was answered");
    }
    const bool may_expire = (due && *due <= now) || (session.idle && session.surely_active + *session.idle <= now);
    if (status == SessionStatus::expired && !may_expire)
      model_.fail(fmt::format("session {} of {} expired before its time: {} us after its last use{}",
                              &session - model_.sessions.data(), session.app,
                              std::chrono::duration_cast<Microseconds>(now - session.last_active).count(),
                              session.lifetime_end ? ", with a lifetime" : ""));
    if (status == SessionStatus::ended && !session.was_ended) model_.fail("a session ended by itself");
    if (status == SessionStatus::failed && (session.app == "keeps" || !session.may_fail)) {
      model_.fail("a session failed without a reason");
    }
  }

  // Lets everything come to its end, under a server that starts anew.
  Async<void> finish() {
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
    note_refused();
  }

  Async<void> check_all() {
    for (const Request& request : model_.requests) {
      if (!request.returned && !request.is_cut) model_.fail(fmt::format("request {} has no answer", request.number));
    }
    const store::SessionPage page = co_await store_.list({}, "", 1'000);
    for (const store::SessionRecord& record : page.sessions) co_await check_session(record.id);
    for (const Request& request : model_.requests) {
      const Session& session = model_.sessions[request.session];
      if (!request.answer || session.is_murky) continue;
      const auto stored = co_await store_.task(request.answer->id);
      if (!stored) {
        model_.fail(fmt::format("the acknowledged task of {} is lost", request.number));
      } else if (store::is_final(request.answer->status) && *stored != *request.answer) {
        model_.fail(fmt::format("the acknowledged outcome of {} was changed", request.number));
      } else if (model_.calls[request.same_as].task != request.answer->id) {
        model_.fail(fmt::format("the key of {} has two tasks", request.number));
      }
    }
  }

  Async<void> check_session(std::string id) {
    const store::VerifyReport report = co_await store::verify(store_, id);
    for (const store::Finding& finding : report.findings) model_.fail(finding.message);
    Session nobodys;
    Session* session = model_.session_of(id);
    if (session == nullptr) session = &nobodys;  // its first call was refused after it was created
    const std::vector<store::TaskRecord> tasks = co_await store_.tasks(id, 0, 10'000);
    std::map<std::string, store::TaskRecord> by_id;
    for (const store::TaskRecord& task : tasks) by_id.emplace(task.id, task);
    model_.check_arrival(tasks);
    const auto stored = co_await store_.load(id);
    model_.replay(*session, co_await store_.events(id, 1, 100'000), by_id, *stored);
  }

 public:
  std::function<void()> stuck;  // says what a round was that cannot be taken down

 private:
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
  bool is_stopping_ = false;  // what has left memory expires under the next server
  std::size_t writes_ = 0;
};

using MakeStore = std::function<std::unique_ptr<store::Store>()>;

std::vector<std::string> play(const MakeStore& make, std::uint64_t seed, const std::vector<Operation>& operations) {
  Loop loop;  // outlives the store, which resumes on it
  const std::unique_ptr<store::Store> store = make();
  std::vector<std::string> wrong;
  {
    Round round(loop, *store, seed);
    round.stuck = [&] {
      std::cerr << "SOJOURN_SEED=" << seed << '\n';
      for (const Operation& operation : operations) std::cerr << describe(operation) << '\n';
    };
    wrong = round.run(operations);
  }
  loop.run(store->close());
  return wrong;
}

// Leaves out what is not needed for the round to go wrong.
std::vector<Operation> shrink(const MakeStore& make, std::uint64_t seed, std::vector<Operation> operations) {
  for (std::size_t part = operations.size() / 2; part > 0; part /= 2) {
    for (std::size_t from = 0; from + part <= operations.size();) {
      std::vector<Operation> fewer = operations;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(from),
                  fewer.begin() + static_cast<std::ptrdiff_t>(from + part));
      if (play(make, seed, fewer).empty()) {
        from += part;
      } else {
        operations = std::move(fewer);
      }
    }
  }
  return operations;
}

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void play_rounds(const MakeStore& make, std::uint64_t rounds) {
  const std::uint64_t first = number_from("SOJOURN_SEED", std::random_device()());
  if (std::getenv("SOJOURN_SEED") != nullptr && std::getenv("SOJOURN_ROUNDS") == nullptr) rounds = 1;
  std::cout << "SOJOURN_SEED=" << first << '\n';
  for (std::uint64_t seed = first; seed < first + rounds; ++seed) {
    const std::vector<Operation> operations = operations_of(seed);
    const std::vector<std::string> first_said = play(make, seed, operations);
    if (first_said.empty()) continue;
    const std::vector<Operation> fewest = shrink(make, seed, operations);
    std::string said = "at first: " + first_said.front() + '\n';
    for (const std::string& wrong : play(make, seed, fewest)) said += wrong + '\n';
    for (const Operation& operation : fewest) said += "  " + describe(operation) + '\n';
    FAIL() << "SOJOURN_SEED=" << seed << '\n' << said;
  }
}

TEST(Order, HoldsOnTheMemoryStore) {
  play_rounds([] { return std::make_unique<store::MemoryStore>(); }, number_from("SOJOURN_ROUNDS", 300));
}

TEST(Order, HoldsOnTheSqliteStore) {
  const TemporaryFolder folder;
  std::size_t made = 0;
  play_rounds(
      [&] {
        std::filesystem::remove_all(folder.path() / std::to_string(made));
        ++made;
        return store::SqliteStore::open({.folder = folder.path() / std::to_string(made)});
      },
      number_from("SOJOURN_ROUNDS", 200) / 10);
}

}  // namespace

}  // namespace sojourn::runtime::order
