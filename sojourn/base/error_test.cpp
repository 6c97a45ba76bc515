#include "sojourn/base/error.hpp"

#include <gtest/gtest.h>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>

#include <set>
#include <stdexcept>

namespace sojourn {
namespace {

const std::vector<ErrorCode>& all_codes() {
  static const std::vector<ErrorCode> codes{
#define SOJOURN_ERROR(name, wire, status, retryable, advice) ErrorCode::name,
#include "sojourn/base/error_codes.def"
#undef SOJOURN_ERROR
  };
  return codes;
}

TEST(ErrorRegistry, GivesEachCodeAWordOfItsOwn) {
  std::set<std::string_view> words;
  for (const ErrorCode code : all_codes()) {
    EXPECT_TRUE(words.insert(info(code).wire).second) << info(code).wire;
    EXPECT_EQ(error_code_from_wire(info(code).wire), code);
  }
}

TEST(ErrorRegistry, GivesEachCodeAStatusAndAnAdvice) {
  for (const ErrorCode code : all_codes()) {
    EXPECT_GE(info(code).http_status, 400) << info(code).name;
    EXPECT_LT(info(code).http_status, 600) << info(code).name;
    EXPECT_TRUE(info(code).advice.ends_with('.')) << info(code).name;
  }
}

TEST(ErrorRegistry, KnowsNoOtherWord) {
  EXPECT_EQ(error_code_from_wire("no_such_code"), std::nullopt);
}

TEST(Error, SurvivesJson) {
  for (const ErrorCode code : all_codes()) {
    const Error error(code, "what went wrong", {{"where", "here"}});
    const Error read = Error::from_json(error.to_json());
    EXPECT_EQ(read.code(), code);
    EXPECT_EQ(read.message(), "what went wrong");
    EXPECT_EQ(read.details(), error.details());
    EXPECT_EQ(read.retryable(), info(code).retryable);
  }
}

TEST(Error, KeepsAnAppsOwnWordOnRetrying) {
  Error error(ErrorCode::app_error, "the camera is busy");
  error.set_retryable(true);
  EXPECT_TRUE(Error::from_json(error.to_json()).retryable());
}

TEST(Error, LeavesEmptyDetailsOut) {
  EXPECT_FALSE(Error(ErrorCode::not_found, "gone").to_json().contains("details"));
}

TEST(Error, ReadsAnUnknownCodeAsAnAppErrorThatNamesIt) {
  const Error error = Error::from_json({{"code", "FROM_THE_FUTURE"}, {"message", "m"}});
  EXPECT_EQ(error.code(), ErrorCode::app_error);
  EXPECT_EQ(error.details().at("code").as_string(), "FROM_THE_FUTURE");
}

TEST(Error, ReadsWhatIsBarelyAnError) {
  EXPECT_EQ(Error::from_json({}).code(), ErrorCode::app_error);
  EXPECT_EQ(Error::from_json({{"code", 7}, {"message", JsonArray{}}, {"details", 1}, {"retryable", "x"}}).message(),
            "");
}

TEST(Error, IsMadeOfAnyException) {
  const auto made_of = [](auto thrown) { return to_error(std::make_exception_ptr(thrown)); };
  EXPECT_EQ(made_of(Error(ErrorCode::conflict, "c")).code(), ErrorCode::conflict);
  EXPECT_EQ(made_of(std::runtime_error("r")).code(), ErrorCode::internal_error);
  using boost::system::system_error;
  EXPECT_EQ(made_of(system_error(boost::asio::error::operation_aborted)).code(), ErrorCode::cancelled);
  EXPECT_EQ(made_of(system_error(boost::asio::error::eof)).code(), ErrorCode::internal_error);
  EXPECT_EQ(made_of(std::runtime_error("r")).message(), "r");
  EXPECT_EQ(made_of(7).code(), ErrorCode::internal_error);
}

TEST(Error, SaysOfAShortageThatItPasses) {
  for (const int shortage : {EMFILE, ENFILE, EAGAIN}) {
    EXPECT_EQ(io_error("a pipe", shortage).code(), ErrorCode::unavailable);
    EXPECT_TRUE(io_error("a pipe", shortage).retryable());
  }
  EXPECT_EQ(io_error("a pipe", EIO).code(), ErrorCode::io_error);
}

TEST(Error, NamesTheErrnoOfTheSystem) {
  const Error error = io_error("open x", ENOENT);
  EXPECT_EQ(error.code(), ErrorCode::io_error);
  EXPECT_EQ(error.message(), "open x: No such file or directory");
  EXPECT_EQ(error.details().at("errno").as_int64(), ENOENT);
}

}  // namespace
}  // namespace sojourn
