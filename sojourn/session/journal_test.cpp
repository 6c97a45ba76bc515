#include "sojourn/session/journal.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::session {

namespace {

NewEvent event(std::string type, std::string data = "{}") {
  return {.type = std::move(type),
          .actor = "me",
          .data = std::move(data),
          .time = Time(Microseconds(1'700'000'000'123'456))};
}

TEST(Journal, WritesAnEventAsTheFormatPageSays) {
  const Journal journal = Journal::of_new_session("sess_20260101_000000_abcdef");
  const Journal::Sealed sealed = journal.seal({event("call.completed", R"({"task":"t"})")}, {});
  ASSERT_EQ(sealed.events.size(), 1u);
  EXPECT_EQ(
      sealed.events[0].body,
      R"({"seq":1,"time":"2023-11-14T22:13:20.123456Z","type":"call.completed","actor":"me","data":{"task":"t"}})");
  EXPECT_EQ(sealed.events[0].hash,
            store::chain_hash(store::chain_start("sess_20260101_000000_abcdef"), sealed.events[0].body));
}

TEST(Journal, LinksEventsWithoutGaps) {
  Journal journal = Journal::of_new_session("s");
  journal.append(event("a"));
  journal.append(event("b"));
  const Journal::Sealed first = journal.seal({event("c")}, {});
  journal.advance(first);
  const Journal::Sealed second = journal.seal({event("d")}, {});
  EXPECT_EQ(first.events.back().seq, 3u);
  EXPECT_EQ(second.events.front().seq, 4u);
  EXPECT_EQ(second.events.front().hash, store::chain_hash(first.events.back().hash, second.events.front().body));
  EXPECT_EQ(second.head.seq, 4u);
}

TEST(Journal, KeepsWhatWaitsUntilItIsDurable) {
  Journal journal = Journal::of_new_session("s");
  journal.append(event("a"));
  const Journal::Sealed failed = journal.seal({}, {});
  journal.append(event("b"));  // while the commit of `failed` runs, which then fails
  const Journal::Sealed again = journal.seal({}, {});
  ASSERT_EQ(again.events.size(), 2u);
  EXPECT_EQ(again.events[0].body, failed.events[0].body);
  journal.append(event("c"));
  journal.advance(again);
  EXPECT_EQ(journal.waiting(), 1u);
  EXPECT_EQ(journal.seal({}, {}).events.at(0).seq, 3u);
}

TEST(Journal, CountsTheLogLinesThatItCuts) {
  Journal journal = Journal::of_new_session("s");
  for (std::size_t i = 0; i < limits::events_per_commit + 5; ++i) journal.append_log(event("log"));
  const Journal::Sealed sealed = journal.seal({event("call.completed")}, Time(Seconds(1)));
  EXPECT_EQ(sealed.events.size(), limits::events_per_commit + 2);
  EXPECT_THAT(sealed.events[limits::events_per_commit].body,
              testing::HasSubstr(R"("type":"log.cut","actor":"server","data":{"lines":5})"));
  journal.append_log(event("log"));  // one more is cut while the commit runs
  journal.advance(sealed);
  EXPECT_THAT(journal.seal({}, {}).events.at(0).body, testing::HasSubstr(R"({"lines":1})"));
}

TEST(Journal, CutsHeavyLogLinesByTheirBytes) {
  Journal journal = Journal::of_new_session("s");
  const std::string heavy(limits::event_bytes, 'x');
  constexpr std::size_t fit = limits::json_bytes / limits::event_bytes;
  for (std::size_t i = 0; i < fit + 3; ++i) journal.append_log(event("log", heavy));
  EXPECT_EQ(journal.waiting(), fit);
  journal.advance(journal.seal({}, {}));
  for (std::size_t i = 0; i < fit + 3; ++i) journal.append_log(event("log", heavy));
  EXPECT_EQ(journal.waiting(), fit);  // what was committed counts no more
}

TEST(Journal, RefusesAnEventPastItsLimit) {
  Journal journal = Journal::of_new_session("s");
  EXPECT_THROW(journal.append(event("a", std::string(limits::event_bytes + 1, ' '))), Error);
  EXPECT_EQ(journal.waiting(), 0u);
}

}  // namespace

}  // namespace sojourn::session
