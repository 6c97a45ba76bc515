#include "sojourn/flow/app.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/this_coro.hpp>

#include "sojourn/base/limits.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// Notes what a call says.
class Notes final : public session::CallScope {
 public:
  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json output) override { emitted.push_back(std::move(output)); }
  void emit_delta(Json) override {}
  void log(LogLevel, std::string_view message, JsonObject) override {
    logged.emplace_back(message);
    told.notify_all();
  }
  void record(std::string type, JsonObject data) override {
    if (type == "flow.progress") {
      progress.push_back(std::move(data));
      told.notify_all();
      return;
    }
    EXPECT_EQ(type, "flow.run");
    recorded.push_back(std::move(data));
  }
  Async<void> checkpoint() override {
    ++checkpoints;
    if (refuses) throw Error(ErrorCode::store_full, "the disk is full");
    co_return;
  }
  void end_session() override {}
  Async<Json> call_app(std::string, std::string, Json) override { co_return nullptr; }
  bool cancel_requested() const override { return false; }
  Async<void> cancel_wait() override { co_return; }

  std::vector<Json> emitted;
  std::vector<JsonObject> recorded;
  std::vector<JsonObject> progress;
  std::vector<std::string> logged;
  Event told;
  int checkpoints = 0;
  bool refuses = false;
  session::CallRequest request_;
  session::Session session_{"s-1", {{"who", "Ada"}}};
};

const auto greet = node("greet", [](Scope& scope, std::string word) {
  scope.broadcast("thinking");
  scope.broadcast("done");
  return word + ", " + std::string(scope.context().get("who").as_string());
});
const auto fails = node("fails", []() -> int { throw std::out_of_range("too far"); });
const auto hangs = node("hangs", []() -> Async<void> { co_await wait_for_ever(); });
const auto both = node("both", [](Scope& scope) -> Async<int> {
  co_await scope.call(greet, "Hi");
  co_return co_await scope.call(fails);
});

class FlowApp : public FlowTest {
 protected:
  Json call(std::string function, Json input) {
    notes.request_ = {
        .task_id = "t", .function = std::move(function), .input = std::move(input), .deadline = Instant::max()};
    Json output;
    loop.run([](FlowApp& test, Json& out) -> Async<void> {
      test.worker = co_await test.served->open({.session_id = "s-1"}, Instant::max());
      out = co_await test.worker->call(test.notes);
    }(*this, output));
    return output;
  }

  Notes notes;
  std::unique_ptr<session::App> served = app({.name = "flows"}, one_thread, {greet, fails, hangs, both});
  std::unique_ptr<session::Worker> worker;
};

TEST_F(FlowApp, HasItsNodesAsFunctions) {
  EXPECT_THAT(served->info().functions, ElementsAre("greet", "fails", "hangs", "both"));
  EXPECT_EQ(served->info().default_function, "greet");
  EXPECT_THROW(app({.name = "none"}, one_thread, {}), Error);
}

TEST_F(FlowApp, CallsTheNodeWithTheInputAndTheSessionsContext) {
  EXPECT_EQ(call("greet", "Good day"), Json("Good day, Ada"));
  EXPECT_THAT(notes.emitted, ElementsAre(Json("thinking"), Json("done")));
}

TEST_F(FlowApp, RefusesAnInputThatDoesNotConvert) {
  EXPECT_THAT(error_of([&] { call("greet", 7); }),
              Pair(ErrorCode::invalid_request, HasSubstr("the input of \"greet\"")));
  EXPECT_THAT(error_of([&] { call("other", 7); }), Pair(ErrorCode::function_not_found, HasSubstr("other")));
}

TEST_F(FlowApp, TellsTheJournalOfItsCallsAlsoWhenItFails) {
  EXPECT_THAT(error_of([&] { call("both", nullptr); }), Pair(ErrorCode::app_error, "too far"));
  ASSERT_EQ(notes.recorded.size(), 1U);
  const JsonArray& calls = notes.recorded[0].at("calls").as_array();
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[0].at("node"), Json("both"));
  EXPECT_EQ(calls[0].at("caller"), Json());
  EXPECT_EQ(calls[0].at("status"), Json("Failed"));
  EXPECT_EQ(calls[1].at("node"), Json("greet"));
  EXPECT_EQ(calls[1].at("caller").to_number<int>(), 0);
  EXPECT_EQ(calls[1].at("status"), Json("Completed"));
  EXPECT_EQ(calls[2].at("status"), Json("Failed"));
  EXPECT_EQ(calls[2].at("error"), Json("too far"));
  EXPECT_EQ(notes.recorded[0].at("task"), Json("t"));
  EXPECT_EQ(notes.recorded[0].at("function"), Json("both"));
  EXPECT_EQ(notes.checkpoints, 1);  // else it would be dropped with the failed call
}

TEST_F(FlowApp, TellsTheJournalHowFarARunIsWhileItRuns) {
  const auto quick = node("quick", [] { return 1; });
  const auto slow = node("slow", [this, quick](Scope& scope) -> Async<void> {
    co_await scope.call(quick);
    while (notes.progress.empty()) co_await notes.told.wait();
    co_await scope.call(quick);
    while (notes.progress.size() < 2) co_await notes.told.wait();
  });
  served = app({.name = "flows"}, one_thread, {slow});
  call("slow", nullptr);
  const JsonArray& first = notes.progress.at(0).at("calls").as_array();
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[0].at("status"), Json("Open"));
  EXPECT_EQ(first[1].at("status"), Json("Completed"));
  const JsonArray& second = notes.progress.at(1).at("calls").as_array();
  ASSERT_EQ(second.size(), 1U);  // what has changed
  EXPECT_EQ(second[0].at("call").to_number<int>(), 2);
  EXPECT_EQ(notes.progress[1].at("task"), Json("t"));
  EXPECT_EQ(notes.checkpoints, 2);
  EXPECT_EQ(notes.recorded.size(), 1U);
}

TEST_F(FlowApp, GoesOnWhereTheJournalCannotBeToldHowFarItIs) {
  notes.refuses = true;
  const auto slow = node("slow", [this](Scope&) -> Async<int> {
    while (notes.logged.empty()) co_await notes.told.wait();
    co_return 7;
  });
  served = app({.name = "flows"}, one_thread, {slow});
  EXPECT_EQ(call("slow", nullptr), Json(7));
  EXPECT_THAT(notes.logged, ElementsAre(HasSubstr("how far")));
}

TEST_F(FlowApp, FailsWithWhatTheNodeThrewWhereTheJournalCannotBeTold) {
  notes.refuses = true;
  EXPECT_THAT(error_of([&] { call("fails", nullptr); }), Pair(ErrorCode::app_error, "too far"));
  EXPECT_THAT(notes.logged, ElementsAre(HasSubstr("journal")));
}

TEST_F(FlowApp, TellsTheJournalNoMoreThanAnEventMayHold) {
  const auto lost = node(std::string(100, '\x01'), [](int) { throw std::out_of_range(std::string(500, '\x02')); });
  const auto many =
      node("many", [lost](Scope& scope) -> Async<void> { co_await scope.call_batch(lost, std::vector<int>(1'200)); });
  served = app({.name = "flows"}, one_thread, {many});
  call("many", nullptr);
  ASSERT_EQ(notes.recorded.size(), 1U);
  const std::size_t told = notes.recorded[0].at("calls").as_array().size();
  EXPECT_GT(told, 50U);
  EXPECT_EQ(notes.recorded[0].at("left_out").to_number<std::size_t>(), 1'201 - told);
  EXPECT_LT(to_text(notes.recorded[0]).size(), limits::event_bytes);
}

Async<void> expect_cancelled(session::Worker& worker, Notes& notes) {
  EXPECT_THROW(co_await worker.call(notes), Error);
}

TEST_F(FlowApp, StopsTheRunWhenTheCallIsCancelled) {
  notes.request_ = {.task_id = "t", .function = "hangs", .input = nullptr, .deadline = Instant::max()};
  loop.run([](session::App& flows, Notes& call, ManualClock& with) -> Async<void> {
    const auto opened = co_await flows.open({.session_id = "s-1"}, Instant::max());
    TaskGroup group(co_await boost::asio::this_coro::executor);
    group.spawn(expect_cancelled(*opened, call));
    co_await settle(with);
    opened->cancel();
    co_await group.join();
  }(*served, notes, clock));
  EXPECT_EQ(notes.recorded.size(), 1U);
}

}  // namespace
}  // namespace sojourn::flow
