#include "sojourn/worker/lines.hpp"

#include <gmock/gmock.h>

namespace sojourn::worker {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> lines_of(std::initializer_list<std::string_view> parts) {
  std::vector<std::string> lines;
  const LineSplitter::Sink sink = [&](std::string line, bool cut) { lines.push_back(line + (cut ? "[cut]" : "")); };
  LineSplitter splitter;
  for (const std::string_view part : parts) splitter.feed(part, sink);
  splitter.finish(sink);
  return lines;
}

TEST(LineSplitter, FindsLinesWhereverTheyAreCut) {
  EXPECT_THAT(lines_of({"one\ntw", "o\n", "\nfour\r\n", "five"}), ElementsAre("one", "two", "", "four", "five"));
  EXPECT_THAT(lines_of({}), IsEmpty());
}

TEST(LineSplitter, CutsALongLineAndSaysSo) {
  const std::string full(LineSplitter::max_bytes, 'x');
  EXPECT_THAT(lines_of({full, "\nnext\n"}), ElementsAre(full, "next"));
  EXPECT_THAT(lines_of({full, "yy", "zz\nnext\n"}), ElementsAre(full + "[cut]", "next"));
}

TEST(LineSplitter, ReplacesWhatIsNoUtf8) {
  EXPECT_THAT(lines_of({"a\xFFz\n", "\xC3", "\xA4\n"}), ElementsAre("a\xEF\xBF\xBDz", "\xC3\xA4"));
}

}  // namespace

}  // namespace sojourn::worker
