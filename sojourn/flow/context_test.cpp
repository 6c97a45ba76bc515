#include "sojourn/flow/context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "sojourn/base/error.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Cases 23, 24 and 27 of the reference.
TEST(FlowContext, NamesAKeyThatItDoesNotHave) {
  const Context context({{"city", "Oslo"}});
  try {
    context.get("town");
    FAIL() << "it has no such key";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.message(), HasSubstr("\"town\"; it has: city"));
  }
}

TEST(FlowContext, ReturnsAFallbackButAlsoANullThatIsThere) {
  Context context;
  EXPECT_EQ(context.get("n", 0), Json(0));
  context.put("n", nullptr);
  EXPECT_EQ(context.get("n", 7), Json(nullptr));
  EXPECT_EQ(context.get("n"), Json(nullptr));
}

TEST(FlowContext, MergesWhatItIsUpdatedWith) {
  Context context({{"a", 1}, {"b", 2}});
  context.update({{"b", 3}, {"c", 4}});
  EXPECT_EQ(Json(context.all()), Json({{"a", 1}, {"b", 3}, {"c", 4}}));
  EXPECT_THAT(context.keys(), ElementsAre("a", "b", "c"));
}

TEST(FlowContext, ForgetsWhatIsRemoved) {
  Context context({{"a", 1}});
  context.remove("a");
  EXPECT_EQ(context.find("a"), std::nullopt);
  EXPECT_THROW(context.remove("a"), Error);
}

TEST(FlowContext, CopiesWhatItBeginsWith) {
  JsonObject values{{"a", 1}};
  Context context(values);
  context.put("a", 2);
  EXPECT_EQ(values["a"], Json(1));
}

TEST(FlowContext, LosesNoChangeOfNodesThatRunAtTheSameTime) {
  Context context({{"n", 0}});
  {
    std::vector<std::jthread> nodes;
    for (int i = 0; i < 4; ++i) {
      nodes.emplace_back([&context] {
        for (int k = 0; k < 1'000; ++k) {
          context.modify("n", [](Json n) { return Json(n.as_int64() + 1); });
        }
      });
    }
  }
  EXPECT_EQ(context.get("n"), Json(4'000));
}

TEST(FlowContext, ModifyMayUseTheContext) {
  Context context({{"n", 1}, {"step", 2}});
  const Json after = context.modify("n", [&](const Json& n) {
    context.put("seen", n);
    return Json(n.as_int64() + context.get("step").as_int64());
  });
  EXPECT_EQ(after, Json(3));
  EXPECT_EQ(context.get("n"), Json(3));
  EXPECT_EQ(context.get("seen"), Json(1));
}

}  // namespace
}  // namespace sojourn::flow
