#include "sojourn/flow/saved_state.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <cmath>
#include <fstream>
#include <latch>
#include <set>
#include <sstream>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"
#include "sojourn/flow/schema_test.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

const auto twice = node("twice", [](int n) { return 2 * n; });
const auto boom = node("boom", [](std::string why) { throw std::out_of_range(why); });
const auto root = node(NodeType("root", "Agent"), [](Scope& scope, int n) -> Async<int> {
  const int doubled = co_await scope.call(twice, n);
  co_await scope.call_batch(boom, {"one", "two"});
  co_return doubled;
});

class FlowSaved : public FlowTest {
 protected:
  FlowSaved() { ::setenv("RAILTRACKS_HOME", home.c_str(), 1); }
  ~FlowSaved() override { ::unsetenv("RAILTRACKS_HOME"); }

  // What a session left behind, once it is gone. Every file that these tests read fits the schema.
  static Json saved(const fs::path& file) {
    const Json json = parse_json(text_of(file));
    static const Schema schema(parse_json(text_of(SOJOURN_FLOW_SCHEMA)));
    EXPECT_EQ(schema.fault_of(json), "");
    return json;
  }
  static std::vector<Json> lines(const fs::path& file) {
    std::vector<Json> found;
    std::istringstream text(text_of(file));
    for (std::string line; std::getline(text, line);) found.push_back(parse_json(line));
    return found;
  }
  fs::path events_of(const std::string& uuid) const { return home / ".railtracks/data/events" / (uuid + ".jsonl"); }

  const TemporaryFolder folder;
  const fs::path home = folder.path();
};

// Cases 6 and 9.
TEST_F(FlowSaved, IsNamedAfterTheFlowElseTheSession) {
  fs::path by_flow, by_name, by_nothing;
  std::string uuid;
  {
    Session first(one_thread, {.save_state = true, .name = "n", .flow_name = "../my flow"});
    Session second(one_thread, {.save_state = true, .name = "n"});
    Session third(one_thread, {.save_state = true});
    by_flow = first.saved_to(), by_name = second.saved_to(), by_nothing = third.saved_to();
    uuid = first.info().uuid;
  }
  EXPECT_EQ(by_flow, home / ".railtracks/data/sessions" / ("---my flow_" + uuid + ".json"));
  EXPECT_THAT(by_name.filename().string(), StartsWith("n_"));
  EXPECT_THAT(by_nothing.filename().string(), StartsWith("_"));
  for (const auto& file : {by_flow, by_name, by_nothing}) EXPECT_TRUE(saved(file).at("runs").as_array().empty());
  EXPECT_EQ(saved(by_flow).at("flow_name"), Json("../my flow"));
  EXPECT_EQ(saved(by_name).at("session_name"), Json("n"));
}

// Case 7.
TEST_F(FlowSaved, IsNothingWhenItIsNotToBe) {
  {
    Session(one_thread, {.save_state = false}).call_sync(twice, 1);
  }
  EXPECT_TRUE(fs::is_empty(home));
}

// Cases 91, 92, 96 and 97, and the defects that null results stayed open and NaN was written.
TEST_F(FlowSaved, HoldsNodesAndEdgesAsTheViewerReadsThem) {
  fs::path file;
  std::string uuid;
  {
    Session session(one_thread, {.save_state = true, .name = "s"});
    EXPECT_EQ(session.call_sync(root, 21), 42);
    EXPECT_TRUE(std::isnan(session.call_sync(node("nan", [](double x) { return x; }), std::nan(""))));
    file = session.saved_to();
    uuid = session.info().uuid;
  }
  const Json json = saved(file);
  EXPECT_EQ(json.at("session_id"), Json(uuid));
  const JsonArray& runs = json.at("runs").as_array();
  ASSERT_EQ(runs.size(), 2U);
  const Json& run = runs[0];
  EXPECT_EQ(run.at("name"), Json("root"));
  EXPECT_EQ(run.at("status"), Json("Completed"));
  const JsonArray& nodes = run.at("nodes").as_array();
  const JsonArray& edges = run.at("edges").as_array();
  ASSERT_EQ(nodes.size(), 4U);
  ASSERT_EQ(edges.size(), 4U);

  const Json& first = nodes.back();  // those that were called stand before who called them
  EXPECT_EQ(first.at("node_type"), Json("Agent"));
  EXPECT_EQ(first.at("stamp").at("identifier"), Json("Finished executing root"));
  EXPECT_EQ(first.at("parent").at("stamp").at("identifier"), Json("START CREATED root"));
  EXPECT_EQ(first.at("parent").at("identifier"), first.at("identifier"));
  EXPECT_TRUE(first.at("details").at("internals").as_object().contains("latency"));
  EXPECT_FALSE(first.at("parent").at("details").at("internals").as_object().contains("latency"));
  EXPECT_EQ(edges.back().at("source"), Json());
  EXPECT_EQ(edges.back().at("identifier"), run.at("run_id"));
  EXPECT_EQ(edges.back().at("parent").at("details").at("status"), Json("Open"));

  const Json& call = edges[2];
  EXPECT_EQ(call.at("source"), first.at("identifier"));
  EXPECT_EQ(call.at("target"), nodes[2].at("identifier"));
  EXPECT_EQ(call.at("stamp").at("identifier"), Json("Finished executing twice"));
  EXPECT_EQ(call.at("details"),
            Json({{"input_args", {21}}, {"input_kwargs", JsonObject()}, {"status", "Completed"}, {"output", 42}}));
  EXPECT_EQ(edges[0].at("details").at("status"), Json("Failed"));
  EXPECT_EQ(edges[0].at("details").at("output"),
            Json({{"type", "std::out_of_range"}, {"message", "two"}, {"traceback", ""}}));
  const JsonArray& steps = run.at("steps").as_array();
  ASSERT_EQ(steps.size(), 8U);
  for (std::int64_t step = 0; step < 8; ++step)
    EXPECT_EQ(steps[static_cast<std::size_t>(step)].at("step"), Json(step));
}

TEST_F(FlowSaved, HoldsARunThatFailed) {
  fs::path file;
  {
    Session session(one_thread, {.end_on_error = true, .save_state = true});
    EXPECT_THROW(session.call_sync(root, 1), Error);
    file = session.saved_to();
  }
  EXPECT_EQ(saved(file).at("runs").at(0).at("status"), Json("Failed"));
}

TEST_F(FlowSaved, HoldsANameOfAnyBytes) {
  fs::path file;
  {
    Session session(one_thread, {.save_state = true});
    session.call_sync(node("a \"quoted\"\n\xff node", [] {}));
    file = session.saved_to();
  }
  EXPECT_EQ(saved(file).at("runs").at(0).at("name"), Json("a \"quoted\"\n\xef\xbf\xbd node"));
}

TEST_F(FlowSaved, LetsASessionGoThatCannotBeSaved) {
  std::ofstream(home / ".railtracks") << "a file where the folder should be";
  testing::internal::CaptureStderr();
  {
    Session session(one_thread,
                    {.logging_setting = LoggingSetting::quiet, .run_identifier = "s-1", .save_state = true});
    EXPECT_EQ(session.call_sync(twice, 1), 2);
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("flow session s-1: its events cannot be written: "));
  EXPECT_THAT(log, HasSubstr("flow session s-1: it cannot be saved: "));
}

TEST_F(FlowSaved, IsFoundInTheNearestHome) {
  ::unsetenv("RAILTRACKS_HOME");
  const fs::path before = fs::current_path();
  fs::create_directories(home / "a/b");
  fs::create_directories(home / ".railtracks");
  fs::current_path(home / "a/b");
  EXPECT_EQ(fs::canonical(saved_home()), fs::canonical(home) / ".railtracks");
  fs::create_directories(home / "a/.railtracks");
  EXPECT_EQ(fs::canonical(saved_home()), fs::canonical(home) / "a/.railtracks");
  fs::current_path(before);
}

// Cases 101, 102 and 104. The original wrote no events of calls after the first.
TEST_F(FlowSaved, EventsAreLinesFromTheSessionsStartToItsEnd) {
  std::string uuid;
  {
    Session session(one_thread, {.save_state = true});
    session.call_sync(twice, 1);
    EXPECT_THROW(session.call_sync(boom, "no"), std::out_of_range);
    uuid = session.info().uuid;
  }
  std::vector<std::string> types;
  for (const Json& line : lines(events_of(uuid))) {
    types.emplace_back(line.at("event_type").as_string());
    EXPECT_EQ(line.at("scope_id"), Json(uuid));
    EXPECT_EQ(line.at("scope_type"), Json("session"));
    EXPECT_EQ(line.at("parent_scope_id"), Json());
  }
  EXPECT_THAT(types, ElementsAre("session.started", "node.creation", "node.invocation", "node.response",
                                 "node.destruction", "node.creation", "node.invocation", "node.failure",
                                 "node.destruction", "session.completed"));
  const auto all = lines(events_of(uuid));
  EXPECT_EQ(all.front().at("payload").at("timeout"), Json(150.0));
  EXPECT_EQ(all[2].at("payload").at("args"), Json(JsonArray{1}));
  EXPECT_EQ(all[2].at("payload").at("parent_node_id"), all[1].at("payload").at("node_id"));
  EXPECT_EQ(all[7].at("payload").at("exception_message"), Json("no"));
  EXPECT_EQ(all.back().at("payload").at("status"), Json("failure"));
  EXPECT_EQ(all.back().at("payload").at("error"), Json("no"));
}

TEST(FlowUuid, IsTheSameForTheSameCallAndAnotherForAnyOther) {
  SeededRandom random(7);
  const Uuid session = Uuid::draw(random), other = Uuid::draw(random);
  std::set<std::string> seen{session.text(), other.text()};
  for (std::uint64_t n = 0; n < 1'000; ++n) {
    for (const auto kind : {Uuid::Kind::node, Uuid::Kind::request, Uuid::Kind::event}) {
      EXPECT_TRUE(seen.insert(session.of(kind, n)).second);
      EXPECT_TRUE(seen.insert(other.of(kind, n)).second);
    }
  }
  EXPECT_EQ(session.of(Uuid::Kind::node, 3), session.of(Uuid::Kind::node, 3));
  EXPECT_THAT(session.text(),
              testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

}  // namespace
}  // namespace sojourn::flow
