#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <numeric>
#include <string_view>
#include <vector>

#include "sojourn/base/random.hpp"
#include "sojourn/flow/run_journal.hpp"
#include "sojourn/flow/saved_state.hpp"
#include "sojourn/flow/session.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/sqlite_store.hpp"

// What flows cost: prints one JSON object, of microseconds and bytes as their names say. The goals are in
// bench/RESULTS.md.
namespace sojourn::bench {
namespace {

using namespace flow;

const auto trivial = node("trivial", [](int n) { return n + 1; });
const auto in_turn = node("in turn", [](Scope& scope, int calls) -> Async<int> {
  int n = 0;
  for (int i = 0; i < calls; ++i) n = co_await scope.call(trivial, n);
  co_return n;
});
const auto trivial_coroutine = node("trivial coroutine", [](int n) -> Async<int> { co_return n + 1; });
const auto coroutines_in_turn = node("coroutines in turn", [](Scope& scope, int calls) -> Async<int> {
  int n = 0;
  for (int i = 0; i < calls; ++i) n = co_await scope.call(trivial_coroutine, n);
  co_return n;
});
const auto at_once = node("at once", [](Scope& scope, int calls) -> Async<std::size_t> {
  co_return (co_await scope.call_batch(trivial, std::vector<int>(static_cast<std::size_t>(calls)))).size();
});
const auto coroutines_at_once = node("coroutines at once", [](Scope& scope, int calls) -> Async<std::size_t> {
  co_return (co_await scope.call_batch(trivial_coroutine, std::vector<int>(static_cast<std::size_t>(calls)))).size();
});
const auto compute = node("compute", [](int seed) {
  auto n = static_cast<unsigned>(seed);
  for (int i = 0; i < 20'000'000; ++i) n = n * 1664525U + 1013904223U;
  return static_cast<int>(n % 100);
});
const auto compute_all = node("compute all", [](Scope& scope, int calls) -> Async<std::size_t> {
  co_return (co_await scope.call_batch(compute, std::vector<int>(static_cast<std::size_t>(calls)))).size();
});
Async<int> descend(Scope& scope, int depth);
const auto deep = node("deep", descend);
Async<int> descend(Scope& scope, int depth) {
  co_return depth == 0 ? 0 : co_await scope.call(deep, depth - 1);
}

// The least microseconds of some rounds: what the machine's other work does not add to.
template <class F>
double least_us(int rounds, F work) {
  double least = 1e18;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    least =
        std::min(least, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

double us_of(Strategy& pool, bool record, const auto& node, int calls) {
  return least_us(7, [&] {
    Session session(pool, {.record = record});
    session.call_sync(node, calls);
  });
}

// What the heap holds more of after a call of each, and its record, are there. Other threads' heaps count too.
double bytes_of_a_call(Strategy& pool, int calls) {
  Session session(pool);
  session.call_sync(in_turn, 1'000);
  const auto before = ::mallinfo2();
  session.call_sync(in_turn, calls);
  const auto after = ::mallinfo2();
  return static_cast<double>(after.uordblks - before.uordblks) / calls;
}

// With a journal on disk, of replay-safe nodes: their events are committed together.
double kept_us(Strategy& pool, int calls) {
  const auto kept = node(replay_safe("kept"), [](int n) { return n + 1; });
  const auto all = node(replay_safe("all"), [kept](Scope& scope, int count) -> Async<int> {
    int n = 0;
    for (int i = 0; i < count; ++i) n = co_await scope.call(kept, n);
    co_return n;
  });
  const auto folder = std::filesystem::temp_directory_path() / ("flow-figures-" + std::to_string(::getpid()));
  SystemClock clock;
  const double us = least_us(3, [&] {
    const auto store = store::SqliteStore::open({.folder = folder});
    {
      Session session(pool, clock, {}, RunJournal::begin(pool, *store, clock));
      session.call_sync(all, calls);
    }
    pool.run(store->close());
  });
  std::filesystem::remove_all(folder);
  return us / calls;
}

double save_us(Strategy& pool, int calls) {
  Session session(pool);
  session.call_sync(in_turn, calls - 1);
  SystemRandom random;
  const SavedSession saved{.uuid = Uuid::draw(random), .start = {}, .end = {}};
  const auto file = std::filesystem::temp_directory_path() / ("flow-figures-" + saved.uuid.text());
  const double us = least_us(7, [&] { store::replace_file(file, saved_state(saved, session.info().graph)); });
  std::filesystem::remove(file);
  return us;
}

void print() {
  set_config({.logging_setting = LoggingSetting::none, .save_state = false});
  ThreadPool pool, one(1);
  fmt::print("{{\n");
  const auto line = [](std::string_view name, double value) { fmt::print("  \"{}\": {:.3f},\n", name, value); };
  line("call_recorded_us", us_of(pool, true, in_turn, 100'000) / 100'000);
  line("call_us", us_of(pool, false, in_turn, 100'000) / 100'000);
  line("coroutine_call_recorded_us", us_of(pool, true, coroutines_in_turn, 100'000) / 100'000);
  line("coroutine_call_us", us_of(pool, false, coroutines_in_turn, 100'000) / 100'000);
  line("fan_out_1000_us", us_of(pool, true, at_once, 1'000));
  line("fan_out_100000_us", us_of(pool, true, at_once, 100'000));
  line("coroutine_fan_out_1000_us", us_of(pool, true, coroutines_at_once, 1'000));
  line("coroutine_fan_out_100000_us", us_of(pool, true, coroutines_at_once, 100'000));
  line("depth_10000_us", us_of(pool, true, deep, 10'000));
  line("session_us", least_us(7, [&] {
                       for (int i = 0; i < 1'000; ++i) Session session(pool);
                     }) / 1'000);
  line("session_and_call_us", least_us(7, [&] {
                                for (int i = 0; i < 1'000; ++i) Session(pool).call_sync(trivial, 1);
                              }) / 1'000);
  line("save_1000_calls_us", save_us(pool, 1'000));
  line("call_kept_us", kept_us(pool, 20'000));
  line("bytes_of_a_recorded_call", bytes_of_a_call(pool, 100'000));
  const double alone = us_of(one, true, compute_all, 8);
  fmt::print("  \"speed_up\": {:.3f},\n  \"threads\": {}\n}}\n", alone / us_of(pool, true, compute_all, 8),
             pool.width());
}

}  // namespace
}  // namespace sojourn::bench

int main() {
  sojourn::bench::print();
}
