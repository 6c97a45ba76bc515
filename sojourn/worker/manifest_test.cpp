#include "sojourn/worker/manifest.hpp"

#include <gmock/gmock.h>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sojourn/base/error_of_test.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::worker {

namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ManifestTest : public testing::Test {
 protected:
  void write(std::string_view app, std::string_view text) {
    fs::create_directories(root_ / app);
    std::ofstream(root_ / app / "app.toml", std::ios::binary) << text;
  }
  Manifest read(std::string_view text) {
    write("app", text);
    return read_manifest(root_ / "app");
  }
  // What reading `text` is refused with.
  std::string refusal(std::string_view text) {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::manifest_invalid);
      EXPECT_THAT(error.message(), HasSubstr((root_ / "app" / "app.toml").string()));
      return error.message();
    }
    ADD_FAILURE() << "accepted: " << text;
    return "";
  }

  TemporaryFolder folder_;
  fs::path root_ = folder_.path();
};

constexpr std::string_view least = "name = \"a\"\ncommand = [\"run\"]\n";

std::string with(std::string_view line) {
  return std::string(least) + std::string(line) + "\n";
}

TEST_F(ManifestTest, ReadsEveryKey) {
  const Manifest manifest = read(R"(
name = "shop/data-processor_2"
version = "1.2.3"
description = "Analyses"
command = ["/usr/bin/python3", "{app}/main.py", "--at={app}"]
functions = ["run", "load.all"]
default_function = "load.all"
session_timeout = 3600
call_timeout = 5
max_sessions = 7
queue_limit = 8
recover = true
sleep_after = 20
prefork = true
min_warm = 3
[limits]
memory_mb = 512
cpus = 1.5
cpu_seconds = 60
processes = 10
open_files = 100
file_size_mb = 3
folder_mb = 4
output_mb = 2
crashes_per_minute = 5
[env]
PYTHONPATH = "{app}/lib:{app}"
EMPTY = ""
)");
  const std::string folder = fs::canonical(root_ / "app").string();
  EXPECT_EQ(manifest.folder, folder);
  EXPECT_EQ(manifest.info.name, "shop/data-processor_2");
  EXPECT_EQ(manifest.info.version, "1.2.3");
  EXPECT_EQ(manifest.info.description, "Analyses");
  EXPECT_THAT(manifest.command, ElementsAre("/usr/bin/python3", folder + "/main.py", "--at=" + folder));
  EXPECT_THAT(manifest.info.functions, ElementsAre("run", "load.all"));
  EXPECT_EQ(manifest.info.default_function, "load.all");
  EXPECT_EQ(manifest.info.session_timeout, Seconds(3600));
  EXPECT_EQ(manifest.info.call_timeout, Seconds(5));
  EXPECT_EQ(manifest.info.max_sessions, 7u);
  EXPECT_EQ(manifest.info.queue_limit, 8u);
  EXPECT_TRUE(manifest.info.recover);
  EXPECT_EQ(manifest.info.sleep_after, Seconds(20));
  EXPECT_TRUE(manifest.prefork);
  EXPECT_EQ(manifest.min_warm, 3u);
  EXPECT_EQ(manifest.limits.memory_bytes, 512u << 20);
  EXPECT_EQ(manifest.limits.cpu_seconds, 60u);
  EXPECT_EQ(manifest.limits.cpu_thousandths, 1500u);
  EXPECT_EQ(manifest.limits.processes, 10u);
  EXPECT_EQ(manifest.limits.open_files, 100u);
  EXPECT_EQ(manifest.limits.file_bytes, 3u << 20);
  EXPECT_EQ(manifest.folder_bytes, 4u << 20);
  EXPECT_EQ(manifest.info.output_bytes, 2u << 20);
  EXPECT_EQ(manifest.crashes_per_minute, 5u);
  EXPECT_EQ(manifest.env.at("PYTHONPATH"), folder + "/lib:" + folder);
  EXPECT_EQ(manifest.env.at("EMPTY"), "");
}

TEST_F(ManifestTest, NeedsOnlyANameAndACommand) {
  const Manifest manifest = read(least);
  EXPECT_THAT(manifest.info.functions, ElementsAre("run"));
  EXPECT_EQ(manifest.info.default_function, "run");
  EXPECT_EQ(manifest.info.session_timeout, Seconds(60));
  EXPECT_EQ(manifest.info.call_timeout, Seconds(600));
  EXPECT_FALSE(manifest.info.recover);
  EXPECT_FALSE(manifest.info.sleep_after);
  EXPECT_FALSE(manifest.prefork);
  EXPECT_FALSE(manifest.sandbox.is_wanted);
  EXPECT_EQ(manifest.min_warm, 0u);
  EXPECT_EQ(manifest.limits.memory_bytes, 0u);
  EXPECT_EQ(manifest.folder_bytes, 0u);
  EXPECT_EQ(manifest.info.output_bytes, 8u << 20);
  EXPECT_THAT(manifest.env, IsEmpty());
  EXPECT_EQ(read("name = \"a\"\ncommand = [\"x\"]\nfunctions = [\"b\", \"c\"]").info.default_function, "b");
}

TEST_F(ManifestTest, NamesTheLineThatIsNoToml) {
  EXPECT_THAT(refusal("name = \"a\"\ncommand = [\n= 3"), HasSubstr("app.toml:3"));
  EXPECT_THAT(refusal("name = \"\xFF\""), HasSubstr("app.toml:1"));
  EXPECT_THAT(refusal("name = \"a\"\nname = \"b\""), HasSubstr("app.toml:2"));
}

TEST_F(ManifestTest, SaysThatTheFileIsMissing) {
  const Error error = error_of([&] { read_manifest(root_ / "nowhere"); });
  EXPECT_EQ(error.code(), ErrorCode::manifest_invalid);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("nowhere/app.toml"), HasSubstr("no such file")));
}

TEST_F(ManifestTest, SaysThatTheFileIsAFolderOrNoPlainFile) {
  fs::create_directories(root_ / "app" / "app.toml");
  Error error = error_of([&] { read_manifest(root_ / "app"); });
  EXPECT_EQ(error.code(), ErrorCode::manifest_invalid);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("app/app.toml"), HasSubstr("it is a folder")));
  fs::remove(root_ / "app" / "app.toml");
  ASSERT_EQ(::mkfifo((root_ / "app" / "app.toml").c_str(), 0600), 0);
  error = error_of([&] { read_manifest(root_ / "app"); });
  EXPECT_THAT(error.message(), HasSubstr("it is no plain file"));
}

TEST_F(ManifestTest, RefusesAFileThatIsTooLarge) {
  refusal(with("# " + std::string(1 << 20, 'x')));
}

TEST_F(ManifestTest, NamesAKeyThatIsUnknown) {
  EXPECT_THAT(refusal(with("sesion_timeout = 5")),
              AllOf(HasSubstr("app.toml:3: sesion_timeout"), HasSubstr("session_timeout")));
  EXPECT_THAT(refusal(with("[limits]\nmemory = 5")), AllOf(HasSubstr("limits.memory"), HasSubstr("memory_mb")));
}

TEST_F(ManifestTest, MayAskForASandboxWithOrWithoutTheNetwork) {
  EXPECT_TRUE(read(with("sandbox = true")).sandbox.is_wanted);
  EXPECT_FALSE(read(with("sandbox = true")).sandbox.has_network);
  EXPECT_TRUE(read(with("sandbox = true\nnetwork = true")).sandbox.has_network);
}

TEST_F(ManifestTest, NamesTheKeyOfABadValueAndWhatIsExpected) {
  EXPECT_THAT(refusal("command = [\"x\"]"), AllOf(HasSubstr("name:"), HasSubstr("namespace/name")));
  for (const char* name :
       {"\"\"", "\"A\"", "\"a b\"", "\"a/b/c\"", "\"/a\"", "\"a/\"", "\"../a\"", "\"a\\u0000\"", "5"}) {
    EXPECT_THAT(refusal(std::string("command = [\"x\"]\nname = ") + name), HasSubstr("app.toml:2: name:")) << name;
  }
  EXPECT_THAT(refusal("name = \"a\""), AllOf(HasSubstr("command:"), HasSubstr("an array of texts")));
  for (const char* command : {"\"python3 main.py\"", "[]", "[\"\"]", "[1]", "[\"a\", 2]", "[\"a\\u0000\"]"}) {
    EXPECT_THAT(refusal(std::string("name = \"a\"\ncommand = ") + command), HasSubstr("app.toml:2: command:"))
        << command;
  }
  for (const char* functions : {"\"run\"", "[]", "[\"\"]", "[\"a\", \"a\"]", "[\"a b\"]", "[1]"}) {
    EXPECT_THAT(refusal(with(std::string("functions = ") + functions)), HasSubstr("functions:")) << functions;
  }
  EXPECT_THAT(refusal(with("default_function = \"walk\"")),
              AllOf(HasSubstr("default_function:"), HasSubstr("one of run")));
  for (const char* timeout : {"0", "3601", "\"60\"", "1.5", "true", "-1"}) {
    EXPECT_THAT(refusal(with(std::string("session_timeout = ") + timeout)),
                AllOf(HasSubstr("session_timeout:"), HasSubstr("from 1 to 3600")))
        << timeout;
  }
  EXPECT_THAT(refusal(with("call_timeout = 0")), HasSubstr("call_timeout:"));
  EXPECT_THAT(refusal(with("max_sessions = 0")), HasSubstr("max_sessions:"));
  EXPECT_THAT(refusal(with("queue_limit = 1e3")), HasSubstr("queue_limit:"));
  EXPECT_THAT(refusal(with("recover = 1")), HasSubstr("recover: expected true or false"));
  EXPECT_THAT(refusal(with("sleep_after = 5")), HasSubstr("sleep_after: expected recover = true"));
  EXPECT_THAT(refusal(with("recover = true\nsleep_after = 0")), HasSubstr("sleep_after: expected an integer from 1"));
  EXPECT_THAT(refusal(with("sandbox = 1")), HasSubstr("sandbox: expected true or false"));
  EXPECT_THAT(refusal(with("network = true")), HasSubstr("network: expected only where sandbox = true"));
  for (const char* other : {"prefork = true", "min_warm = 1"}) {
    EXPECT_THAT(refusal(with(std::string("sandbox = true\n") + other)),
                HasSubstr("sandbox: expected neither prefork nor min_warm beside it"));
  }
  EXPECT_THAT(refusal(with("prefork = \"yes\"")), HasSubstr("prefork: expected true or false"));
  EXPECT_THAT(refusal(with("min_warm = 1001")), HasSubstr("min_warm: expected an integer from 0 to 1000"));
  EXPECT_THAT(refusal(with("version = 1")), HasSubstr("version: expected a text"));
  EXPECT_THAT(refusal(with("version = \"\"")), HasSubstr("version:"));
  EXPECT_THAT(refusal(with("description = []")), HasSubstr("description:"));
  EXPECT_THAT(refusal(with("limits = 5")), HasSubstr("limits: expected a table"));
  EXPECT_THAT(refusal(with("[limits]\nmemory_mb = 0")), HasSubstr("limits.memory_mb:"));
  EXPECT_THAT(refusal(with("[limits]\nmemory_mb = 9223372036854775807")), HasSubstr("limits.memory_mb:"));
  for (const char* cpus : {"0", "0.001", "nan", "-1", "2000", "\"1\"", "true"}) {
    EXPECT_THAT(refusal(with(std::string("[limits]\ncpus = ") + cpus)),
                AllOf(HasSubstr("limits.cpus:"), HasSubstr("from 0.01 to 1024")))
        << cpus;
  }
  EXPECT_THAT(refusal(with("[limits]\noutput_mb = 9")), AllOf(HasSubstr("limits.output_mb:"), HasSubstr("to 8")));
  EXPECT_THAT(refusal(with("[limits]\ncrashes_per_minute = 0")), HasSubstr("limits.crashes_per_minute:"));
  EXPECT_THAT(refusal(with("[limits]\nopen_files = 2")), HasSubstr("limits.open_files:"));
  EXPECT_THAT(refusal(with("[env]\nA = 1")), HasSubstr("env.A: expected a text"));
  EXPECT_THAT(refusal(with("[env]\n\"A=B\" = \"1\"")), HasSubstr("env.A=B:"));
}

TEST_F(ManifestTest, IsFoundBesideABrokenOne) {
  write("b", "name = \"b\"\ncommand = [\"x\"]");
  write("a", "name = ");
  write("c", "name = \"b\"\ncommand = [\"x\"]");
  fs::create_directories(root_ / "no-app");
  std::ofstream(root_ / "README.md") << "apps";
  const FoundManifests found = find_manifests(root_);
  ASSERT_EQ(found.apps.size(), 1u);
  EXPECT_EQ(found.apps[0].info.name, "b");
  ASSERT_EQ(found.broken.size(), 2u);
  EXPECT_EQ(found.broken[0].folder, "a");
  EXPECT_THAT(found.broken[0].error.message(), HasSubstr("a/app.toml:1"));
  EXPECT_THAT(found.broken[1].error.message(), AllOf(HasSubstr("c/app.toml"), HasSubstr("\"b\" already")));
}

TEST_F(ManifestTest, IsNotSoughtInAFolderThatIsNotThere) {
  try {
    find_manifests(root_ / "nowhere");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    EXPECT_THAT(error.message(), HasSubstr("nowhere"));
  }
}

}  // namespace

}  // namespace sojourn::worker
