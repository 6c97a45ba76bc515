#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/session/journal.hpp"
#include "sojourn/session/kept_session.hpp"
#include "sojourn/session/state.hpp"

// What the steps of a call cost that do not wait for anything. Run by scripts/bench, which names what is asked.
namespace sojourn::bench {
namespace {

// A value as apps have them: a list of small objects, of about `bytes` bytes as text.
Json value_of(std::int64_t bytes) {
  if (bytes <= 16) return 42;
  JsonArray items;
  for (std::int64_t i = 0; i * 64 < bytes; ++i) {
    items.push_back(JsonObject{{"name", "part-" + std::to_string(1000 + i)}, {"ok", true}, {"size", 12.5}, {"n", i}});
  }
  return items;
}

// As in a call: one change, which is accepted.
void state_set(benchmark::State& run) {
  session::State state;
  const Json value = value_of(run.range(0));
  state.set("value", value);
  state.accept();
  for (auto _ : run) {
    state.set("value", value);
    state.accept();
  }
}
BENCHMARK(state_set)->Arg(8)->Arg(1 << 10)->Arg(10 << 10)->Arg(100 << 10);

// A small key changes beside others of `range` bytes in all: it must cost what changed.
void state_set_beside(benchmark::State& run) {
  session::State state;
  for (std::int64_t i = 0; i < 100; ++i) {
    state.set("other-" + std::to_string(i), Json(std::string(static_cast<std::size_t>(run.range(0)) / 100, 'x')));
  }
  state.accept();
  std::int64_t n = 0;
  for (auto _ : run) {
    state.set("n", ++n);
    benchmark::DoNotOptimize(session::state_hashes(state.changes()));
    state.accept();
  }
}
BENCHMARK(state_set_beside)->Arg(1 << 10)->Arg(10 << 10)->Arg(100 << 10);

void state_get(benchmark::State& run) {
  session::State state;
  state.set("value", value_of(run.range(0)));
  for (auto _ : run) benchmark::DoNotOptimize(state.get("value"));
}
BENCHMARK(state_get)->Arg(8)->Arg(10 << 10);

// The event of a call that is over, with its place in the chain.
void journal_seal(benchmark::State& run) {
  session::Journal journal = session::Journal::of_new_session("sess_20260115_103045_abcdef");
  const std::string hash(64, 'a');
  const Time now = SystemClock().now();
  const std::vector<session::NewEvent> events = {
      {.type = "call.completed",
       .actor = "local",
       .data = R"({"task":"task_20260115_103045_abcdefabcdef","function":"increment","input":")" + hash +
               R"(","output":")" + hash + R"(","state":{"n":")" + hash + R"("},"us":120})",
       .time = now}};
  for (auto _ : run) {
    const session::Journal::Sealed sealed = journal.seal(events, now);
    journal.advance(sealed);
  }
}
BENCHMARK(journal_seal);

void json_parse(benchmark::State& run) {
  const std::string text = to_text(value_of(run.range(0)));
  for (auto _ : run) benchmark::DoNotOptimize(parse_json(text));
  run.SetBytesProcessed(run.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(json_parse)->Arg(256)->Arg(100 << 10);

void json_print(benchmark::State& run) {
  const Json value = value_of(run.range(0));
  std::int64_t bytes = 0;
  for (auto _ : run) bytes += static_cast<std::int64_t>(to_text(value).size());
  run.SetBytesProcessed(bytes);
}
BENCHMARK(json_print)->Arg(256)->Arg(100 << 10);

}  // namespace
}  // namespace sojourn::bench

BENCHMARK_MAIN();
