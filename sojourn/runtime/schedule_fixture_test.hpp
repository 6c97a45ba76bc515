#pragma once

#include <algorithm>

#include "sojourn/runtime/runtime_fixture_test.hpp"

// Calls that are put off, as tests of them make them.
namespace sojourn::runtime {

using store::SessionStatus;
using store::TaskStatus;

constexpr Seconds hour{3'600};

class ScheduleTest : public RuntimeTest {
 public:
  static ScheduleTest& of(RuntimeTest& test) { return dynamic_cast<ScheduleTest&>(test); }

  // A call of `function` in so much time.
  Async<store::TaskRecord> schedule(std::string session, std::string function, Microseconds after,
                                    Json input = nullptr, std::string key = "") {
    const TaskView view = co_await runtime->run({.app = "app",
                                                 .function = std::move(function),
                                                 .input = std::move(input),
                                                 .session = std::move(session),
                                                 .idempotency_key = std::move(key),
                                                 .wait = false,
                                                 .run_at = clock.now() + after});
    co_return view.task;
  }

  Async<TaskStatus> status(const store::TaskRecord& task) { co_return (co_await runtime->task(task.id)).task.status; }

  Async<SessionStatus> session_status(std::string id) {
    co_return (co_await store.load(std::move(id)))->record.head.status;
  }

  std::size_t served(std::string_view function) const {
    return static_cast<std::size_t>(std::ranges::count(script.log, "call " + std::string(function)));
  }

  // Lets so much time pass, in steps in which nothing comes late.
  Async<void> pass_slowly(Seconds time) {
    for (; time > Seconds(0); time -= Seconds(1)) co_await pass(Seconds(1));
  }

  store::TaskRecord left;  // by the runtime before
};

}  // namespace sojourn::runtime
