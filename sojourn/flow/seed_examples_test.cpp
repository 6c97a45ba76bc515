#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"

// The examples of the seed (003, "Session Management"), as C++ programs write them.
namespace sojourn::flow {
namespace {

const auto node_a = node("NodeA", [](const std::string& text) { return text + "!"; });

// 1.1: with rt.Session() as run: result = rt.call_sync(rt.nodes.NodeA, "Hello World")
TEST(FlowSeed, SessionInitializationAndExecution) {
  ThreadPool pool;
  const Session run(pool);
  EXPECT_EQ(call_sync(node_a, "Hello World"), "Hello World!");
  EXPECT_EQ(run.info().answer(), Json("Hello World!"));
}

// 1.2: session = rt.Session(context={"key": "value"}, save_state=True)
TEST(FlowSeed, ContextAndStateManagement) {
  const TemporaryFolder home;
  ::setenv("RAILTRACKS_HOME", home.path().c_str(), 1);
  ThreadPool pool;
  std::filesystem::path file;
  {
    Session session(pool, {.context = {{"key", "value"}}, .save_state = true});
    const auto read = node("read", [](Scope& scope) { return std::string(scope.context().get("key").as_string()); });
    EXPECT_EQ(session.call_sync(read), "value");
    file = session.saved_to();
    EXPECT_FALSE(std::filesystem::exists(file));
  }
  EXPECT_TRUE(std::filesystem::exists(file));
  ::unsetenv("RAILTRACKS_HOME");
}

}  // namespace
}  // namespace sojourn::flow
