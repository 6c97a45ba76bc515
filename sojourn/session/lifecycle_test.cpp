#include "sojourn/session/lifecycle.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"

namespace sojourn::session {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Lifecycle assessment() {
  return Lifecycle("assessment", "created",
                   {{"created", {"matching"}}, {"matching", {"matching", "reviewed"}}, {"reviewed", {"completed"}}},
                   "error");
}

TEST(Lifecycle, AllowsWhatItDeclares) {
  const Lifecycle lifecycle = assessment();
  EXPECT_EQ(lifecycle.first(), "created");
  lifecycle.check("created", "matching");
  lifecycle.check("matching", "matching");
  lifecycle.check("matching", "error");
  EXPECT_THAT(lifecycle.allowed_after("matching"), ElementsAre("error", "matching", "reviewed"));
  EXPECT_TRUE(lifecycle.is_final("completed"));
  EXPECT_TRUE(lifecycle.is_final("error"));
  EXPECT_FALSE(lifecycle.is_final("created"));
}

TEST(Lifecycle, RefusesAnyOtherMoveAndNamesTheAllowedOnes) {
  const Lifecycle lifecycle = assessment();
  try {
    lifecycle.check("created", "completed");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::stage_not_allowed);
    EXPECT_EQ(error.details().at("allowed"), (JsonArray{"error", "matching"}));
  }
  EXPECT_THROW(lifecycle.check("completed", "error"), Error);
  EXPECT_THROW(lifecycle.check("error", "created"), Error);
}

TEST(Lifecycle, IsOpenByDefault) {
  const Lifecycle lifecycle = Lifecycle::open();
  EXPECT_EQ(lifecycle.first(), "created");
  lifecycle.check("created", "anything");
  lifecycle.check("anything", "created");
  EXPECT_FALSE(lifecycle.is_final("anything"));
  EXPECT_THAT(lifecycle.allowed_after("created"), IsEmpty());
  EXPECT_THROW(lifecycle.check("created", "No Stage"), Error);
}

TEST(Lifecycle, RefusesADeclarationThatCannotWork) {
  EXPECT_THROW(Lifecycle("l", "created", {{"created", {"Done!"}}}), Error);
  EXPECT_THROW(Lifecycle("l", "created", {{"created", {"done"}}, {"island", {"done"}}}), Error);
  EXPECT_THROW(Lifecycle("l", "", {}), Error);
}

}  // namespace

}  // namespace sojourn::session
