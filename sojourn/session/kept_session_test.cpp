#include "sojourn/session/kept_session.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/store/memory_store.hpp"

namespace sojourn::session {

namespace {

using namespace std::chrono_literals;

// That a session's events are in the order of their times when the wall clock is set by `jump` after the first.
Async<void> check_times_after(Microseconds jump) {
  ManualClock clock;
  SeededRandom random(7);
  store::MemoryStore store;
  Beginning beginning;
  beginning.created = {.type = "session.created", .actor = "test"};
  const auto kept = co_await KeptSession::create(store, clock, random, std::move(beginning));
  clock.set_wall(clock.now() + jump);
  for (int i = 0; i < 3; ++i) {
    clock.advance(1s);
    Step step;
    step.events = {{.type = "note", .actor = "app", .time = clock.now() - 1ms}, {.type = "note", .actor = "test"}};
    co_await kept->commit(std::move(step));
  }
  std::vector<std::string> times;
  for (const store::Event& event : co_await store.events(kept->record().id, 1, 100)) {
    const Json body = parse_json(event.body);
    times.emplace_back(body.as_object().at("time").as_string());
  }
  EXPECT_EQ(times.size(), 7u);
  EXPECT_TRUE(std::ranges::is_sorted(times)) << jump.count();
}

TEST(KeptSession, KeepsItsJournalsTimesInOrderWhenTheClockIsSet) {
  for (const Microseconds jump : {Microseconds(-3600s), Microseconds(0s), Microseconds(3600s)}) {
    Loop().run(check_times_after(jump));
  }
}

// That a session with a drawn id and an opening key that another has is refused for the key.
Async<void> check_a_taken_key() {
  ManualClock clock;
  SeededRandom random(7);
  store::MemoryStore store;
  Beginning beginning;
  beginning.created = {.type = "session.created", .actor = "test"};
  beginning.opening_key = "k";
  co_await KeptSession::create(store, clock, random, beginning);
  try {
    co_await KeptSession::create(store, clock, random, beginning);
    ADD_FAILURE() << "it was created";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::already_exists);
    EXPECT_NE(error.message().find("opening key"), std::string::npos) << error.message();
  }
}

TEST(KeptSession, TakesATakenOpeningKeyForNoTakenId) {
  Loop().run(check_a_taken_key());
}

}  // namespace

}  // namespace sojourn::session
