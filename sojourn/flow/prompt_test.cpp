#include "sojourn/flow/prompt.hpp"

#include <gtest/gtest.h>

#include <random>

namespace sojourn::flow {
namespace {

// Cases 107 and 110, and the facts of section 1.9.
class FlowPrompt : public testing::Test {
 protected:
  std::string fill(std::string_view text) const { return fill_template(text, context); }

  Context context{{{"name", "Ada"},
                   {" x ", "blanks"},
                   {"1", "one"},
                   {"two words-and-dash", 2},
                   {"none", nullptr},
                   {"yes", true},
                   {"list", {1, 2}},
                   {"nested", "{name}"}}};
};

TEST_F(FlowPrompt, FillsInWhatTheContextHas) {
  EXPECT_EQ(fill("Dear {name}, {1} of {two words-and-dash}."), "Dear Ada, one of 2.");
  EXPECT_EQ(fill("{ x }"), "blanks");
  EXPECT_EQ(fill("{none} {yes} {list}"), "None True [1,2]");
  EXPECT_EQ(fill("{name:}"), "Ada");
}

TEST_F(FlowPrompt, LeavesWhatTheContextDoesNotHave) {
  EXPECT_EQ(fill("Dear {title} {name}"), "Dear {title} Ada");
  EXPECT_EQ(fill("{x}"), "{x}");
}

TEST_F(FlowPrompt, TakesTwoBracesForOne) {
  EXPECT_EQ(fill("{{name}} {{}} {{{name}}}"), "{name} {} {Ada}");
}

TEST_F(FlowPrompt, DoesNotFillInWhatItFilledIn) {
  EXPECT_EQ(fill("{nested}"), "{name}");
}

TEST_F(FlowPrompt, ReadsNoAttributesAndFormatsNothing) {
  for (const char* text :
       {"{}", "{name.size}", "{list[0]}", "{name!r}", "{name:>10}", "{name!r:>10}", "{name:{width}}"}) {
    EXPECT_EQ(fill(text), text);
    EXPECT_EQ(fill(std::string(text) + "{name}"), std::string(text) + "Ada");
  }
}

TEST_F(FlowPrompt, NamesTheFieldsThatItNeverFillsIn) {
  EXPECT_EQ(odd_fields("{} {name} {name.size} {missing} {name:>10} {{x.y}}"),
            (std::vector<std::string>{"{}", "{name.size}", "{name:>10}"}));
  EXPECT_TRUE(odd_fields("{a.b} {").empty());  // no template
}

TEST_F(FlowPrompt, ReturnsATemplateWhoseBracesDoNotMatchAsItIs) {
  for (const char* text : {"{name}}", "{", "}", "{name} {", "a } {name}", "{name!}", "{{name}", "{na{me}"}) {
    EXPECT_EQ(fill(text), text);
  }
}

TEST_F(FlowPrompt, EscapedTextIsFilledInToItself) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 1'000; ++round) {
    std::string text;
    for (auto left = random() % 12; left > 0; --left) text += "{}n!:[]. "[random() % 9];
    EXPECT_EQ(fill(escape_braces(text)), text);
  }
}

}  // namespace
}  // namespace sojourn::flow
