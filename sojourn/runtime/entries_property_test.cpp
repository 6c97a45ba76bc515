#include <fmt/format.h>

#include <map>
#include <random>
#include <set>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/store/manifest.hpp"
#include "sojourn/store/verify.hpp"

// Many writers say things of few sessions (steps, stages, artefacts, state from outside), interleaved at random with
// calls, failing commits and rest: the chain stays whole, what was acknowledged is there once, what was refused is
// not there, and the rows of steps and state are what the journal tells.
namespace sojourn::runtime {

namespace {

using Kind = session::StepChange::Kind;

struct Told {
  std::set<std::string> acknowledged;
  std::set<std::string> refused;
};

struct World {
  RuntimeTest& test;
  std::mt19937_64 random;
  std::vector<std::string> sessions;
  std::map<std::string, Told> told;  // by session
  int next = 0;

  std::uint64_t below(std::uint64_t bound) { return random() % bound; }
};

Async<void> say(World& world, std::string id, std::string mark) {
  const JsonObject data{{"mark", mark}};
  const std::string name = fmt::format("step_{}", world.below(3));
  Runtime& runtime = *world.test.runtime;
  switch (world.below(10)) {
    case 0:
      co_await runtime.change_step(id, {.kind = Kind::finish, .name = name, .data = data});
      break;
    case 1:
      co_await runtime.change_step(id, {.kind = Kind::fail, .name = name, .error = "no", .data = data});
      break;
    case 2:
    case 3:
      co_await runtime.change_step(id, {.kind = Kind::start, .name = name, .data = data});
      break;
    case 4:
      co_await runtime.change_step(
          id, {.kind = Kind::report, .name = name, .duration = Milliseconds(world.below(9)), .data = data});
      break;
    case 5:
      co_await runtime.move_stage(id, {.stage = "reviewed", .reason = mark});
      break;
    case 6:
      co_await runtime.change_state(id, {{mark, Json(true)}}, "local");
      break;
    case 7: {
      session::Entry entry{.bytes = mark.size()};
      entry.write = [&mark](session::Draft& draft) {
        const store::Artifact artifact{.path = mark, .sha256 = to_hex(sha256(mark)), .content_type = "text/plain"};
        draft.step.events.push_back({.type = std::string(store::artifact_event),
                                     .actor = "local",
                                     .data = to_text(artifact.event_data()),
                                     .time = draft.now});
      };
      co_await runtime.append(id, std::move(entry));
      break;
    }
    default: {
      const std::uint64_t version = (co_await runtime.session(id)).record.version + world.below(2);
      co_await runtime.change_step(id, {.kind = Kind::start, .name = name, .data = data}, version);
    }
  }
}

Async<void> write(World& world, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string id = world.sessions[world.below(world.sessions.size())];
    const std::string mark = fmt::format("mark-{}", world.next++);
    if (world.below(12) == 0) {
      co_await world.test.call(id, "increment");
    } else if (world.below(12) == 0) {
      co_await world.test.settle();
    } else {
      bool is_said = false;
      try {
        co_await say(world, id, mark);
        is_said = true;
      } catch (const Error&) {
        // It is counted among those refused.
      }
      (is_said ? world.told[id].acknowledged : world.told[id].refused).insert(mark);
    }
  }
}

// The marks that a session's journal holds; one that it holds twice counts as a failure.
Async<std::set<std::string>> marks_of(RuntimeTest& test, std::string id) {
  std::set<std::string> marks;
  for (const store::Event& event : co_await test.store.events(id, 1, 100'000)) {
    const JsonObject body = parse_json_object(event.body);
    const JsonObject& data = body.at("data").as_object();
    std::string mark;
    if (const Json* inner = data.if_contains("data")) mark = std::string(inner->at("mark").as_string());
    if (const Json* reason = data.if_contains("reason"); body.at("type") == "session.stage" && reason != nullptr) {
      mark = std::string(reason->as_string());
    }
    if (body.at("type") == "artifact.stored") mark = std::string(data.at("path").as_string());
    if (body.at("type") == "state.changed") mark = std::string(data.at("state").as_object().begin()->key());
    if (!mark.empty() && !marks.insert(mark).second) ADD_FAILURE() << mark << " is there twice";
  }
  co_return marks;
}

// The steps as the journal tells of them: by name and attempt, their last event's type.
Async<std::map<std::pair<std::string, std::uint64_t>, std::string>> steps_told(RuntimeTest& test, std::string id) {
  std::map<std::pair<std::string, std::uint64_t>, std::string> steps;
  for (const store::Event& event : co_await test.store.events(id, 1, 100'000)) {
    const JsonObject body = parse_json_object(event.body);
    const std::string type(body.at("type").as_string());
    if (!type.starts_with("step.")) continue;
    const Json& data = body.at("data");
    std::string& last =
        steps[{std::string(data.at("step").as_string()), data.at("attempt").to_number<std::uint64_t>()}];
    if (!last.empty()) EXPECT_EQ(last, "running") << "an attempt ended twice";
    last = type == "step.started" ? "running" : type.substr(5);
  }
  co_return steps;
}

Async<void> check(World& world, std::string id) {
  RuntimeTest& test = world.test;
  const store::VerifyReport report = co_await store::verify(test.store, id);
  for (const store::Finding& finding : report.findings) ADD_FAILURE() << finding.message;
  const Told& told = world.told[id];
  EXPECT_EQ(co_await marks_of(test, id), told.acknowledged);
  std::map<std::pair<std::string, std::uint64_t>, std::string> rows;
  for (const store::StepRecord& step : co_await test.store.steps(id, 1, 100'000)) {
    rows[{step.name, step.attempt}] = store::to_string(step.status);
  }
  EXPECT_EQ(rows, co_await steps_told(test, id));
}

Async<void> play(RuntimeTest& test, std::uint64_t seed) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  World world{.test = test, .random = std::mt19937_64(seed), .sessions = {}, .told = {}};
  for (int i = 0; i < 3; ++i) world.sessions.push_back(co_await test.new_session());
  test.guarded.refuses = [&world](const store::Commit& commit) {
    // Calls are to go through, so that only what was said is in doubt.
    return commit.tasks.empty() && world.below(10) == 0;
  };
  for (int round = 0; round < 4; ++round) {
    TaskGroup writers(test.loop.executor());
    for (int i = 0; i < 8; ++i) writers.spawn(write(world, 12));
    co_await writers.join();
    co_await test.pass(Seconds(world.below(50)));  // at times they go to rest
  }
  test.guarded.refuses = nullptr;
  EXPECT_FALSE(world.told.empty());
  for (const std::string& id : world.sessions) co_await check(world, id);
}

}  // namespace

TEST_F(RuntimeTest, KeepsTheChainWholeAndLosesNothingHoweverWritersInterleave) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    test.app->change_info().session_timeout = Seconds(3'600);
    test.app->change_info().recover = true;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) co_await play(test, seed);
  });
}

}  // namespace sojourn::runtime
