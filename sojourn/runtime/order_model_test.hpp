#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/verify.hpp"

// What is right, told from the promises and not from the code: each session's calls and writes as they came in, what
// each must do to the state, when the session must be over, and what its journal must say.
namespace sojourn::runtime::order {

using Values = std::map<std::string, std::int64_t>;

// One request, as its caller sees it.
struct Request {
  std::size_t number = 0;  // bears its input, so that it is known wherever it shows up
  std::size_t session = 0;
  std::string app;
  std::string function;
  std::int64_t argument = 0;
  std::string key;
  bool wait = true;
  std::optional<Time> run_at;
  bool has_webhook = false;
  std::size_t same_as = 0;  // the request whose input this one repeats: `number` for none
  std::size_t step = 0;     // the operation that it came with

  bool returned = false;
  bool is_cut = false;  // its server crashed before it was answered
  std::optional<ErrorCode> error;
  std::optional<store::TaskRecord> answer;

  Json input() const { return JsonObject{{"call", same_as}, {"by", argument}}; }
};

// What became of a request that is a call of its own.
struct Call {
  std::string task;
  int begun = 0;
  bool cancel_asked = false;
  int ends_in_journal = 0;
};

struct Session {
  std::string id;  // "" until it is known
  std::string app;
  bool one_call = false;
  std::optional<Seconds> idle;
  std::optional<Instant> lifetime_end;
  Instant last_active;
  Instant surely_active;   // after a crash: as the store knew then
  Instant durably_active;  // something of it was answered
  bool busy = false;
  bool is_murky = false;   // the store refused something of it: what it is now, the store says
  bool may_fail = false;   // it lost a worker
  bool was_short = false;  // a worker could not be opened for it when it was to be
  bool was_ended = false;
  bool is_ended = false;  // durably, as its end was answered
  store::SessionStatus status = store::SessionStatus::active;
  std::map<std::string, std::int64_t> writes;  // by hash of the value's text: what came from outside
  std::set<std::string> resources;             // that the journal says are open
  std::map<std::size_t, Instant> pending;      // calls that wait for their time, by number of the request
  std::set<std::size_t> perhaps;               // requests of such whose answer is not known

  std::optional<Instant> due() const {
    std::optional<Instant> due = lifetime_end;
    if (idle && !busy && pending.empty() && perhaps.empty())
      due = due ? std::min(*due, last_active + *idle) : last_active + *idle;
    return due;
  }
};

// What a function does to the state when it succeeds, and what it answers.
inline std::int64_t apply(const std::string& function, std::int64_t argument, Values& state) {
  if (function == "add" || function == "hold" || function == "polite") state["count"] += argument;
  if (function == "forget") state.erase("count");
  return state.contains("count") ? state["count"] : 0;
}

inline std::string hash_of(std::int64_t value) {
  return to_hex(sha256(std::to_string(value)));
}

// Why a call may have failed, from what was done to it.
inline bool may_end_with(const std::string& function, const std::string& code, const Call& call,
                         const Session& session) {
  if (session.is_murky) return true;
  if (code == "worker_lost" || code == "WORKER_LOST")
    return session.may_fail || session.was_ended || function == "die";
  if (code == "app_error") return function == "fail" || function == "checkpoint" || function == "polite";
  if (code == "call_timeout") return function == "hold" || function == "polite";
  if (code == "worker_start_failed") return session.may_fail;
  if (code == "unavailable") return session.was_short;
  if (code == "cancelled") return call.cancel_asked || session.was_ended || session.lifetime_end || session.one_call;
  return false;
}

struct Model {
  const Clock* clock = nullptr;
  std::vector<Request> requests;
  std::vector<Call> calls;  // by number of the request
  std::vector<Session> sessions;
  std::vector<std::string> wrong;
  std::size_t asking = 0;         // how many ask the store just now what is durable
  std::set<std::string> touched;  // ids of sessions that something began in since the last look

  Instant instant_of(Time time) const { return clock->instant() + (time - clock->now()); }

  void fail(std::string what) { wrong.push_back(std::move(what)); }

  Session* session_of(const std::string& id) {
    const auto found = std::ranges::find(sessions, id, &Session::id);
    return found == sessions.end() ? nullptr : &*found;
  }

  // A worker begins a call. `running`: whether another call of its session runs.
  void begin(std::size_t number, const std::string& session, const std::string& task, bool running) {
    sessions[requests[number].session].id = session;
    touched.insert(session);
    const std::optional<Time>& run_at = requests[number].run_at;
    if (run_at && clock->now() < *run_at) fail(fmt::format("call {} begins before its time", number));
    if (running) fail(fmt::format("call {} begins while another of its session runs", number));
    if (++calls[number].begun > 1) fail(fmt::format("call {} runs twice", number));
    if (!calls[number].task.empty() && calls[number].task != task) fail(fmt::format("call {} has two tasks", number));
    calls[number].task = task;
  }

  // What the caller was told against what it asked for, and against the call that holds its key.
  void check_answer(const Request& request) {
    if (!request.answer) return;
    const store::TaskRecord& task = *request.answer;
    const std::string input = to_text(request.input());
    if (task.input != input) fail(fmt::format("request {} got the task of {}", request.number, task.input));
    if (task.function != request.function) fail(fmt::format("request {} got {}", request.number, task.function));
    if (request.wait && !store::is_final(task.status)) fail(fmt::format("request {}: no end", request.number));
    Call& call = calls[request.same_as];
    if (call.task.empty()) call.task = task.id;
    if (request.key.empty() || request.same_as == request.number) {
      if (call.task != task.id && request.key.empty()) fail(fmt::format("call {} has two tasks", request.number));
    }
  }

  // Calls that came one after the other are numbered so. `tasks`: those of one session.
  void check_arrival(const Session& session, const std::vector<store::TaskRecord>& tasks) {
    const store::TaskRecord* before = nullptr;
    std::set<std::uint64_t> numbers;
    std::size_t step_before = 0;
    std::vector<const store::TaskRecord*> put_off;
    for (const store::TaskRecord& task : tasks) {  // by seq
      if (task.seq == 0) continue;                 // its time has not come, or it ended before
      if (!numbers.insert(task.seq).second) fail(fmt::format("two calls have the number {}", task.seq));
      const Request& request = requests[number_of(task)];
      if (!request.key.empty()) continue;                         // it may have come again later
      if (request.run_at && task.created_at < *request.run_at) {  // else its time had passed, which is now
        put_off.push_back(&task);
        continue;
      }
      if (before != nullptr && request.step < step_before) {
        fail(fmt::format("{} came before {}, and is numbered after it", task.input, before->input));
      }
      step_before = std::max(step_before, request.step);
      before = &task;
    }
    if (!session.is_murky) check_order_by_time(put_off);  // else one may have been accepted after its time
  }

  // Those that were put off come by their times, and of one time in the order of their requests. `tasks`: by seq.
  void check_order_by_time(const std::vector<const store::TaskRecord*>& tasks) {
    const auto place = [&](const store::TaskRecord& task) {
      return std::pair(*task.run_at, requests[number_of(task)].step);
    };
    for (std::size_t i = 1; i < tasks.size(); ++i) {
      if (place(*tasks[i]) < place(*tasks[i - 1])) {
        fail(fmt::format("{} came before the time of {}", tasks[i - 1]->input, tasks[i]->input));
      }
    }
  }

  static std::size_t number_of(const store::TaskRecord& task) {
    return parse_json(task.input).at("call").to_number<std::size_t>();
  }
};

}  // namespace sojourn::runtime::order
