#include "sojourn/client/task.hpp"

#include <gtest/gtest.h>

namespace sojourn::client {
namespace {

Task task(std::string_view json) {
  return Task(parse_json_object(json));
}

TEST(Task, TellsWhatTheServerTold) {
  const Task one = task(R"({"id":"task_1","session_id":"sess_1","status":7,"status_text":"running","output":[1]})");
  EXPECT_EQ(one.id(), "task_1");
  EXPECT_EQ(one.session_id(), "sess_1");
  EXPECT_EQ(one.status(), "running");
  EXPECT_EQ(one.output(), parse_json("[1]"));
  EXPECT_FALSE(one.is_over());
  EXPECT_FALSE(one.failure());
  EXPECT_TRUE(Task().output().is_null());
}

TEST(Task, ThrowsTheErrorOfACallThatFailedWithAllThatIsKnownOfIt) {
  const Task failed =
      task(R"({"id":"task_1","status":11,"error":"no","error_info":{"code":"queue_full","message":"no",)"
           R"("retryable":false,"details":{"a":1}}})");
  try {
    failed.check();
    FAIL();
  } catch (const CallFailed& error) {
    EXPECT_EQ(error.code(), ErrorCode::queue_full);
    EXPECT_EQ(error.message(), "no");
    EXPECT_FALSE(error.retryable());
    EXPECT_EQ(error.details(), (JsonObject{{"a", 1}}));
    EXPECT_EQ(error.task().id(), "task_1");
  }
  EXPECT_NO_THROW(task(R"({"status":10})").check());
}

TEST(Task, KeepsACodeThatOnlyTheAppKnows) {
  const auto error = task(R"({"status":11,"error_info":{"code":"no_paper","message":"empty"}})").failure();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::app_error);
  EXPECT_EQ(error->details().at("code"), Json("no_paper"));
}

TEST(Task, SaysWhatItCanOfACallWhoseErrorIsOnlyText) {
  EXPECT_EQ(task(R"({"status":11,"error":"odd"})").failure()->message(), "odd");
  EXPECT_EQ(task(R"({"status":11})").failure()->code(), ErrorCode::app_error);
  EXPECT_EQ(task(R"({"status":12})").failure()->code(), ErrorCode::cancelled);
}

TEST(Error, SaysThatASessionIsGoneWhereANewOneMustBeStarted) {
  for (const ErrorCode code : {ErrorCode::session_not_found, ErrorCode::session_expired, ErrorCode::session_ended,
                               ErrorCode::worker_lost, ErrorCode::version_mismatch}) {
    EXPECT_TRUE(is_session_gone(Error(code, "")));
  }
  EXPECT_FALSE(is_session_gone(Error(ErrorCode::queue_full, "")));
}

}  // namespace
}  // namespace sojourn::client
