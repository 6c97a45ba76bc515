#include "sojourn/cli/remote.hpp"

#include <gtest/gtest.h>

namespace sojourn::cli {
namespace {

TEST(Field, IsEmptyForWhatIsNotThere) {
  const Json object = parse_json(R"({"text":"a","number":3,"null":null,"list":[1]})");
  EXPECT_EQ(field(object, "text"), "a");
  EXPECT_EQ(field(object, "number"), "3");
  EXPECT_EQ(field(object, "list"), "[1]");
  EXPECT_EQ(field(object, "null"), "");
  EXPECT_EQ(field(object, "missing"), "");
  EXPECT_EQ(field(Json(3), "text"), "");
}

}  // namespace
}  // namespace sojourn::cli
