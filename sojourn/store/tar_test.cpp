#include "sojourn/store/tar.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "sojourn/base/error.hpp"

namespace sojourn::store::tar {
namespace {

std::string member(const std::string& name, const std::string& content) {
  return head(name, content.size()) + content + padding(content.size());
}

Reader reader_of(const std::string& archive) {
  return Reader([&archive, place = std::size_t{0}](char* buffer, std::size_t size) mutable {
    const std::size_t count = archive.copy(buffer, size, place);
    place += count;
    return count;
  });
}

using Members = std::vector<std::pair<std::string, std::string>>;

Members read_all(const std::string& archive) {
  Members members;
  Reader reader = reader_of(archive);
  while (const auto found = reader.next()) {
    std::string content;
    for (std::string piece = reader.read(7); !piece.empty(); piece = reader.read(7)) content += piece;
    members.emplace_back(found->name, content);
  }
  return members;
}

const std::string long_name = "folder/" + std::string(255, 'n') + "/\xC3\xA4";

std::string two_members() {
  return member("folder/a", "content") + member(long_name, "") + member("folder/b", std::string(512, 'b')) + end();
}

TEST(Tar, GivesBackWhatWasPutIn) {
  EXPECT_EQ(read_all(two_members()),
            (Members{{"folder/a", "content"}, {long_name, ""}, {"folder/b", std::string(512, 'b')}}));
  EXPECT_EQ(read_all(end()), Members());
}

TEST(Tar, RefusesEachByteThatIsNotAsItWouldHaveWrittenIt) {
  const std::string archive = two_members();
  const Members written = read_all(archive);
  for (std::size_t place = 0; place < archive.size(); ++place) {
    std::string changed = archive;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    try {
      EXPECT_NE(read_all(changed), written) << place;  // another name or content
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_request) << place;
    }
  }
}

TEST(Tar, RefusesAnArchiveThatIsCutOffOrGoesOn) {
  const std::string archive = two_members();
  for (std::size_t size = 0; size < archive.size(); size += 100)
    EXPECT_THROW(read_all(archive.substr(0, size)), Error);
  EXPECT_THROW(read_all(archive + '\0'), Error);
}

TEST(Tar, RefusesNamesThatCannotBeWritten) {
  for (const std::string& name : {std::string(), std::string("a\nb"), std::string("a\0b", 3)}) {
    EXPECT_THROW(head(name, 1), Error);
  }
  EXPECT_THROW(head("a", std::uint64_t{8} << 30), Error);
}

}  // namespace
}  // namespace sojourn::store::tar
