#include "sojourn/server/api_keys.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::server {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ApiKeysTest : public testing::Test {
 protected:
  void write(std::string_view text, ::mode_t mode = 0600) {
    std::ofstream(file_, std::ios::trunc) << text;
    ASSERT_EQ(::chmod(file_.c_str(), mode), 0);
  }

  std::string text() const {
    std::ifstream in(file_);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  static std::string entry(std::string_view name, std::string_view key,
                           std::string_view scopes = R"(["apps:read"])") {
    return fmt::format("[[key]]\nname = \"{}\"\nhash = \"{}\"\nscopes = {}\n", name, to_hex(sha256(key)), scopes);
  }

  Error refusal() const {
    try {
      ApiKeys::read(file_);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the file was taken:\n" << text();
    return Error(ErrorCode::internal_error, "");
  }

  // That reading `contents` is refused, in words that name the line and the problem.
  void expect_refused(std::string_view contents, int line, std::string_view problem) {
    write(contents);
    const Error error = refusal();
    EXPECT_EQ(error.code(), ErrorCode::config_invalid);
    EXPECT_THAT(error.message(),
                AllOf(HasSubstr(fmt::format("keys.toml:{}: ", line)), HasSubstr(std::string(problem))));
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "keys.toml";
};

TEST_F(ApiKeysTest, FindTheCallerOfEachKey) {
  write(entry("ci", "sjn_one") + entry("web", "sjn_two", R"(["apps:read", "apps:execute"])"));
  const ApiKeys keys = ApiKeys::read(file_);

  const std::optional<Caller> ci = keys.find("Bearer sjn_one");
  ASSERT_TRUE(ci);
  EXPECT_EQ(ci->name, "ci");
  EXPECT_EQ(ci->scopes, Scopes{Scope::apps_read});
  const std::optional<Caller> web = keys.find("bearer sjn_two");
  ASSERT_TRUE(web);
  EXPECT_EQ(web->name, "web");
  EXPECT_EQ(web->scopes, (Scopes{Scope::apps_read, Scope::apps_execute}));
}

TEST_F(ApiKeysTest, KnowNoOtherHeader) {
  write(entry("ci", "sjn_one"));
  const ApiKeys keys = ApiKeys::read(file_);
  const std::string hash = to_hex(sha256("sjn_one"));
  for (const std::string& header :
       {std::string(), std::string("Bearer"), std::string("Bearer "), std::string("Bearer sjn_on"),
        std::string("Bearer sjn_onee"), std::string("Bearer  sjn_one"), std::string("Basic sjn_one"),
        std::string("sjn_one"), "Bearer " + hash}) {
    EXPECT_FALSE(keys.find(header)) << header;
  }
}

TEST_F(ApiKeysTest, AdminMayDoEverythingAndOthersOnlyTheirOwn) {
  EXPECT_TRUE(Scopes{Scope::admin}.allow(Scope::apps_execute));
  EXPECT_TRUE(Scopes{Scope::admin}.allow(Scope::apps_read));
  EXPECT_TRUE(Scopes{Scope::apps_read}.allow(Scope::apps_read));
  EXPECT_FALSE(Scopes{Scope::apps_read}.allow(Scope::apps_execute));
  EXPECT_FALSE((Scopes{Scope::apps_read, Scope::apps_execute}.allow(Scope::admin)));
}

TEST_F(ApiKeysTest, RefuseAFileThatOthersCanReach) {
  for (const ::mode_t mode : {0640u, 0604u, 0620u, 0660u}) {
    write(entry("ci", "sjn_one"), mode);
    const Error error = refusal();
    EXPECT_EQ(error.code(), ErrorCode::config_invalid);
    EXPECT_THAT(error.message(), HasSubstr("chmod 600 " + file_.string()));
  }
}

TEST_F(ApiKeysTest, RefuseAFileThatIsNotThereOrNoFile) {
  EXPECT_THAT(refusal().message(), HasSubstr("No such file"));
  std::filesystem::create_directory(file_);
  ASSERT_EQ(::chmod(file_.c_str(), 0700), 0);
  EXPECT_THAT(refusal().message(), HasSubstr("no regular file"));
}

TEST_F(ApiKeysTest, NameTheLineOfWhatIsWrong) {
  const std::string good = entry("ci", "sjn_one");
  expect_refused("", 1, "no [[key]]");
  expect_refused("[[key]\n", 1, "");
  expect_refused("name = \"x\"\n", 1, "not 'name'");
  expect_refused("key = 3\n", 1, "only [[key]]");
  expect_refused("key = [\n3]\n", 2, "[[key]]");
  expect_refused("[[key]]\nname = \"ci\"\nscopes = [\"admin\"]\n", 1, "no 'hash'");
  expect_refused("[[key]]\nhash = \"abc\"\n", 2, "64 hex digits");
  expect_refused("[[key]]\nhash = 3\n", 2, "not a text");
  expect_refused(good + "key = \"sjn_one\"\n", 5, "not 'key'");
  expect_refused(entry("ci", "k", "[]"), 4, "one or more");
  expect_refused(entry("ci", "k", "\"admin\""), 4, "one or more");
  expect_refused(entry("ci", "k", "[1]"), 4, "a scope is a text");
  expect_refused(entry("ci", "k", "[\"apps:write\"]"), 4, "no scope 'apps:write'");
  expect_refused(entry("", "k"), 2, "1 to 64");
  expect_refused(entry("a b", "k"), 2, "1 to 64");
  expect_refused(entry("server", "k"), 2, "journal");
  expect_refused(good + entry("ci", "k"), 5, "'ci' has this name or key");
  expect_refused(good + entry("other", "sjn_one"), 5, "'ci' has this name or key");
}

TEST_F(ApiKeysTest, NewKeysFitTheirFormAndDiffer) {
  SystemRandom random;
  const std::string one = new_key(random);
  EXPECT_THAT(one, testing::MatchesRegex("sjn_[A-Za-z0-9_-]+"));
  EXPECT_EQ(one.size(), 4 + 43u);
  EXPECT_NE(one, new_key(random));
}

TEST_F(ApiKeysTest, NewKeysAreTheUrlSafeBase64OfTheirBytes) {
  struct AllOnes final : Random {
    void fill(std::span<std::uint8_t> bytes) override { std::ranges::fill(bytes, std::uint8_t{0xff}); }
  } random;
  EXPECT_EQ(new_key(random), "sjn_" + std::string(42, '_') + "8");
}

TEST_F(ApiKeysTest, AnAddedKeyIsFoundAndNeverStored) {
  add_key(file_, "ci", {Scope::apps_execute}, "sjn_one");
  struct stat status = {};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);

  write("# ours\n" + text());
  add_key(file_, "web", {Scope::apps_read, Scope::admin}, "sjn_two");
  const ApiKeys keys = ApiKeys::read(file_);
  ASSERT_TRUE(keys.find("Bearer sjn_one"));
  EXPECT_EQ(keys.find("Bearer sjn_one")->scopes, Scopes{Scope::apps_execute});
  ASSERT_TRUE(keys.find("Bearer sjn_two"));
  EXPECT_THAT(keys.find("Bearer sjn_two")->scopes.names(), ElementsAre("apps:read", "admin"));
  EXPECT_THAT(text(), AllOf(testing::StartsWith("# ours\n"), testing::Not(HasSubstr("sjn_"))));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1)
      << "something was left beside it";
}

TEST_F(ApiKeysTest, AnEmptyFileTakesAFirstKey) {
  write("");
  add_key(file_, "ci", {Scope::apps_read}, "sjn_one");
  EXPECT_TRUE(ApiKeys::read(file_).find("Bearer sjn_one"));
}

TEST_F(ApiKeysTest, AFileThatCannotTakeTheKeyStaysAsItWas) {
  add_key(file_, "ci", {Scope::apps_read}, "sjn_one");
  const std::string before = text();
  const auto refused_with = [&](std::string_view name, Scopes scopes) {
    try {
      add_key(file_, name, scopes, "sjn_two");
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal_error;
  };
  EXPECT_EQ(refused_with("ci", {Scope::apps_read}), ErrorCode::already_exists);
  EXPECT_EQ(refused_with("a\"b", {Scope::apps_read}), ErrorCode::invalid_request);
  EXPECT_EQ(refused_with("web", {}), ErrorCode::invalid_request);
  EXPECT_EQ(text(), before);
}

}  // namespace
}  // namespace sojourn::server
