#include "sojourn/flow/saved_state.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <cmath>
#include <fstream>
#include <latch>
#include <map>
#include <set>
#include <sstream>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"
#include "sojourn/flow/full_disk_test.hpp"
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

// Cases 13 and 88. The ids are those of the original: printf '{"name": "bakery"}' | sha256sum.
TEST_F(FlowSaved, FlowsOfOneNameHaveOneId) {
  EXPECT_EQ(flow_id_of("bakery"), "9dda939496df14794e24cb3fff3a6a5e63b5ce3ae39f01a3dbab758fb335c9c6");
  EXPECT_EQ(flow_id_of("\xc3\xa4 \"\xf0\x9f\x8d\x9e\""),
            "155247db970184c70e85601440ef0c3ae394626ed0ede30e2763842a5eaa920d");
  EXPECT_NE(flow_id_of("bakery"), flow_id_of("Bakery"));
  const auto payload = [&](Settings settings) { return parse_json(Session(one_thread, settings).payload()); };
  const Json first = payload({.name = "n", .flow_name = "bakery"});
  EXPECT_EQ(first.at("flow_id"), Json(flow_id_of("bakery")));
  EXPECT_EQ(payload({.flow_name = "bakery"}).at("flow_id"), first.at("flow_id"));
  EXPECT_EQ(payload({.name = "bakery"}).at("flow_id"), Json());
  EXPECT_EQ(payload({.name = "bakery"}).at("flow_name"), Json());
}

bool is_uuid(const Json& json) {
  return testing::Matches(testing::ContainsRegex(
      "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"))(std::string(json.as_string()));
}

// Cases 69, 98 and 106: what the readers of the original's files rely on.
TEST_F(FlowSaved, HoldsTogetherAsItsReadersExpect) {
  Session session(one_thread, {.save_state = false});
  session.call_sync(root, 21);
  EXPECT_THROW(session.call_sync(boom, "three"), std::out_of_range);
  const Json json = parse_json(session.payload());
  EXPECT_TRUE(is_uuid(json.at("session_id")));
  for (const Json& run : json.at("runs").as_array()) {
    std::map<std::string, double> latency;
    for (const Json& head : run.at("nodes").as_array()) {
      EXPECT_TRUE(is_uuid(head.at("identifier")));
      EXPECT_TRUE(head.at("node_type") == Json("Agent") || head.at("node_type") == Json("Tool"));
      EXPECT_EQ(head.at("parent").at("identifier"), head.at("identifier"));
      EXPECT_LT(head.at("parent").at("stamp").at("step").as_int64(), head.at("stamp").at("step").as_int64());
      EXPECT_EQ(head.at("parent").at("parent"), Json());
      latency[std::string(head.at("identifier").as_string())] =
          head.at("details").at("internals").at("latency").at("total_time").as_double();
    }
    for (const Json& head : run.at("edges").as_array()) {
      for (const char* same : {"identifier", "source", "target"})
        EXPECT_EQ(head.at("parent").at(same), head.at(same));
      EXPECT_TRUE(is_uuid(head.at("identifier")));
      EXPECT_TRUE(latency.contains(std::string(head.at("target").as_string())));
      if (head.at("source").is_null()) continue;
      EXPECT_GE(latency.at(std::string(head.at("source").as_string())),
                latency.at(std::string(head.at("target").as_string())));
    }
    EXPECT_EQ(
        std::ranges::count(run.at("edges").as_array(), Json(), [](const Json& edge) { return edge.at("source"); }),
        1);
  }
}

TEST_F(FlowSaved, HasItsTimesWithAllTheirDigits) {
  clock.advance(Milliseconds(1'234));
  const auto slow = node("slow", [this] { clock.advance(Milliseconds(1'005)); });
  Session session(one_thread, clock, {});
  session.call_sync(slow);
  const Json run = parse_json(session.payload()).at("runs").at(0);
  EXPECT_EQ(run.at("nodes").at(0).at("details").at("internals").at("latency").at("total_time"), Json(1.005));
  EXPECT_NEAR(run.at("end_time").as_double() - run.at("start_time").as_double(), 1.005, 1e-6);
  EXPECT_DOUBLE_EQ(run.at("start_time").as_double(),
                   static_cast<double>(session.info().graph.call(0).created.time.time_since_epoch().count()) / 1e6);
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

TEST_F(FlowSaved, LetsASessionGoWhereTheDiskIsFull) {
  fs::path file;
  testing::internal::CaptureStderr();
  {
    Session session(one_thread,
                    {.logging_setting = LoggingSetting::quiet, .run_identifier = "s-1", .save_state = true});
    EXPECT_EQ(session.call_sync(twice, 1), 2);
    file = session.saved_to();
    const FullDisk full(100);
    loop.run(session.close());
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("flow session s-1: it cannot be saved: "));
  EXPECT_FALSE(fs::exists(file));  // nor half of it
  EXPECT_TRUE(fs::is_empty(file.parent_path()));
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
