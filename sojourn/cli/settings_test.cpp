#include "sojourn/cli/settings.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() { sources_.folder = folder_.path(); }

  std::filesystem::path write(std::string_view text, std::string_view name = "sojourn.toml") {
    const std::filesystem::path file = sources_.folder / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::trunc) << text;
    return file;
  }

  std::string refusal() const {
    try {
      read_settings(sources_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::config_invalid);
      return error.message();
    }
    return "nothing was refused";
  }

  TemporaryFolder folder_;
  SettingSources sources_;
};

TEST_F(SettingsTest, HaveDefaults) {
  const Settings settings = read_settings(sources_);
  EXPECT_EQ(settings.listen_host, "127.0.0.1");
  EXPECT_EQ(settings.listen_port, 8080);
  EXPECT_EQ(settings.data, "data");
  EXPECT_EQ(settings.apps, "apps");
  EXPECT_FALSE(settings.keys);
  EXPECT_EQ(settings.log_level, LogLevel::info);
  EXPECT_EQ(settings.log_format, LogFormat::text);
  EXPECT_EQ(settings.drain_grace, Seconds(10));
  EXPECT_EQ(settings.url, "http://127.0.0.1:8080");
  EXPECT_EQ(settings.api_key, "");
  EXPECT_EQ(settings.timeout, Seconds(900));
  EXPECT_EQ(settings.values.size(), all_settings().size());
  for (const SettingValue& value : settings.values) EXPECT_EQ(value.source, "default") << value.name;
}

TEST_F(SettingsTest, EachSourceWinsOverTheOnesBelow) {
  write("# ours\nlog_level = \"error\"\n");
  EXPECT_EQ(read_settings(sources_).log_level, LogLevel::error);
  EXPECT_THAT(read_settings(sources_).value("log_level").source, testing::EndsWith("sojourn.toml:2"));

  sources_.environment["SOJOURN_LOG_LEVEL"] = "warning";
  EXPECT_EQ(read_settings(sources_).log_level, LogLevel::warning);
  EXPECT_EQ(read_settings(sources_).value("log_level").source, "SOJOURN_LOG_LEVEL");

  sources_.flags["log_level"] = "debug";
  EXPECT_EQ(read_settings(sources_).log_level, LogLevel::debug);
  EXPECT_EQ(read_settings(sources_).value("log_level").source, "--log-level");
  EXPECT_EQ(read_settings(sources_).value("log_level").text, "debug");
}

TEST_F(SettingsTest, AnEmptyVariableCountsAsNotSet) {
  sources_.environment["SOJOURN_DATA"] = "";
  EXPECT_EQ(read_settings(sources_).value("data").source, "default");
}

TEST_F(SettingsTest, PathsInTheFileAreRelativeToItsFolderAndOthersAreNot) {
  sources_.config = write("data = \"kept\"\napps = \"/srv/apps\"\nkeys = \"../keys.toml\"\n", "etc/sojourn.toml");
  sources_.environment["SOJOURN_APPS"] = "here";
  const Settings settings = read_settings(sources_);
  EXPECT_EQ(settings.data, sources_.folder / "etc/kept");
  EXPECT_EQ(settings.apps, "here");
  EXPECT_EQ(settings.keys, sources_.folder / "keys.toml");
}

TEST_F(SettingsTest, TheFileIsTheOneNamedByFlagElseByVariableElseTheOneHere) {
  write("timeout = 1\n");
  EXPECT_EQ(read_settings(sources_).timeout, Seconds(1));
  sources_.environment["SOJOURN_CONFIG"] = write("timeout = 2\n", "two.toml");
  EXPECT_EQ(read_settings(sources_).timeout, Seconds(2));
  sources_.config = write("timeout = 3\n", "three.toml");
  EXPECT_EQ(read_settings(sources_).timeout, Seconds(3));
}

TEST_F(SettingsTest, AFileThatIsNamedMustBeThere) {
  sources_.environment["SOJOURN_CONFIG"] = "/nowhere/sojourn.toml";
  EXPECT_THAT(refusal(), StartsWith("SOJOURN_CONFIG: /nowhere/sojourn.toml"));
  sources_.config = sources_.folder;
  EXPECT_THAT(refusal(), StartsWith("--config: "));
}

TEST_F(SettingsTest, RefuseWhatTheFileMayNotSay) {
  const std::string file = (sources_.folder / "sojourn.toml").string();
  write("\nlisten = \"127.0.0.1:1\"\nlisen = \"127.0.0.1:2\"\n");
  EXPECT_THAT(refusal(), AllOf(StartsWith(file + ":3: "), HasSubstr("'lisen'"), HasSubstr("listen, data")));
  write("data = [1]\n");
  EXPECT_THAT(refusal(), AllOf(StartsWith(file + ":1: "), HasSubstr("data")));
  write("timeout = 1.5\n");
  EXPECT_THAT(refusal(), AllOf(StartsWith(file + ":1: "), HasSubstr("timeout")));
  write("timeout = 1\ntimeout = 2\n");
  EXPECT_THAT(refusal(), StartsWith(file + ":2: "));
  write("data = \n");
  EXPECT_THAT(refusal(), StartsWith(file + ":1: "));
  write("\n\ntimeout = 0\n");
  EXPECT_THAT(refusal(), AllOf(StartsWith(file + ":3: bad timeout '0'"), HasSubstr("1 to 86400")));
}

struct BadValue {
  std::string_view setting, text, problem;
};

// A test's name, which else would hold addresses.
void PrintTo(const BadValue& value, std::ostream* out) {
  *out << value.setting << " = '" << value.text << "'";
}

class BadSettings : public testing::TestWithParam<BadValue> {};

TEST_P(BadSettings, AreRefusedWithTheirFlagAndTheirVariable) {
  const auto& [name, text, problem] = GetParam();
  const auto info = std::ranges::find(all_settings(), name, &SettingInfo::name);
  ASSERT_NE(info, all_settings().end());
  SettingSources flag{.flags = {{std::string(name), std::string(text)}}, .folder = "/nowhere"};
  SettingSources variable{.environment = {{std::string(info->variable), std::string(text)}}, .folder = "/nowhere"};
  for (const auto& [sources, source] : {std::pair(flag, info->flag), std::pair(variable, info->variable)}) {
    try {
      read_settings(sources);
      if (text.empty()) continue;  // an empty variable is none
      ADD_FAILURE() << name << " took '" << text << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::config_invalid);
      EXPECT_THAT(error.message(), AllOf(StartsWith(fmt::format("{}: bad {} '{}'", source, name, text)),
                                         HasSubstr(std::string(problem))));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BadSettings,
    testing::Values(BadValue{"listen", "8080", "HOST:PORT"}, BadValue{"listen", "127.0.0.1", "HOST:PORT"},
                    BadValue{"listen", ":8080", "IP address"}, BadValue{"listen", "example.org:80", "IP address"},
                    BadValue{"listen", "127.0.0.1:", "0 to 65535"},
                    BadValue{"listen", "127.0.0.1:65536", "0 to 65535"},
                    BadValue{"listen", "127.0.0.1:-1", "0 to 65535"},
                    BadValue{"listen", "127.0.0.1:80x", "0 to 65535"},
                    BadValue{"log_level", "loud", "debug, info, warning or error"},
                    BadValue{"log_format", "xml", "text or json"}, BadValue{"drain_grace", "3601", "0 to 3600"},
                    BadValue{"drain_grace", "soon", "0 to 3600"}, BadValue{"timeout", "0", "1 to 86400"},
                    BadValue{"timeout", "1.5", "1 to 86400"}, BadValue{"timeout", "99999999999999", "1 to 86400"},
                    BadValue{"url", "ftp://127.0.0.1", ""}, BadValue{"url", "http://127.0.0.1:x", ""}));

TEST_F(SettingsTest, AnEmptyPathIsNoPathButNoKeyFileIsFine) {
  sources_.flags["keys"] = "";
  EXPECT_FALSE(read_settings(sources_).keys);
  sources_.flags["data"] = "";
  EXPECT_THAT(refusal(), StartsWith("--data: bad data"));
}

TEST_F(SettingsTest, TheListenHostMayBeIpVersion6) {
  sources_.flags["listen"] = "[::1]:0";
  EXPECT_EQ(read_settings(sources_).listen_host, "::1");
  EXPECT_EQ(read_settings(sources_).listen_port, 0);
}

TEST_F(SettingsTest, SecretsAreNeverShown) {
  sources_.environment["SOJOURN_API_KEY"] = "sjn_secret";
  const Settings settings = read_settings(sources_);
  EXPECT_EQ(settings.api_key, "sjn_secret");
  EXPECT_EQ(settings.value("api_key").text, "********");
  EXPECT_EQ(settings.value("api_key").source, "SOJOURN_API_KEY");

  sources_.environment["SOJOURN_API_KEY"] = "sjn_secret\r\nX-Other: 1";
  EXPECT_THAT(refusal(), AllOf(StartsWith("SOJOURN_API_KEY: bad api_key"), Not(HasSubstr("sjn_secret"))));
}

TEST_F(SettingsTest, FlagsAndVariablesFollowTheNames) {
  for (const SettingInfo& setting : all_settings()) {
    std::string flag = "--", variable = "SOJOURN_";
    for (const char c : setting.name) {
      flag += c == '_' ? '-' : c;
      variable += c == '_' ? c : static_cast<char>(c - 'a' + 'A');
    }
    if (!setting.is_secret) EXPECT_EQ(setting.flag, flag);
    EXPECT_EQ(setting.variable, variable);
  }
}

TEST_F(SettingsTest, ThePageListsEachAsTheTableHasIt) {
  std::ifstream in(SOJOURN_DOCS "/reference/settings.md");
  const std::string page(std::istreambuf_iterator<char>(in), {});
  const auto code = [](std::string_view text) { return text.empty() ? "none" : fmt::format("`{}`", text); };
  for (const SettingInfo& setting : all_settings()) {
    const std::string flag = setting.flag.empty() ? "" : fmt::format("{} {}", setting.flag, setting.value);
    EXPECT_THAT(page, HasSubstr(fmt::format("| {} | {} | {} | {} | {} |\n", code(setting.name), code(flag),
                                            code(setting.variable), code(setting.fallback), setting.help)));
  }
}

}  // namespace
}  // namespace sojourn::cli
