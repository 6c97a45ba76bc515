#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "sojourn/base/random.hpp"
#include "sojourn/flow/run_journal.hpp"
#include "sojourn/flow/saved_state.hpp"
#include "sojourn/flow/session.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/sqlite_store.hpp"

// What flows cost: prints one JSON object a line for each figure, or for those whose names have the first argument in
// them.
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
// About 10 ms of work that a core does by itself, in its registers.
int computed(int seed) {
  auto n = static_cast<unsigned>(seed);
  for (int i = 0; i < 8'000'000; ++i) n = n * 1664525U + 1013904223U;
  return static_cast<int>(n % 100);
}
const auto compute = node("compute", computed);
const auto compute_all = node("compute all", [](Scope& scope, int calls) -> Async<std::size_t> {
  co_return (co_await scope.call_batch(compute, std::vector<int>(static_cast<std::size_t>(calls)))).size();
});
Async<int> descend(Scope& scope, int depth);
const auto deep = node("deep", descend);
Async<int> descend(Scope& scope, int depth) {
  co_return depth == 0 ? 0 : co_await scope.call(deep, depth - 1);
}

template <class F>
double us_of_one(F work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

// The least microseconds of some rounds: what the machine's other work does not add to.
template <class F>
double least_us(int rounds, F work) {
  double least = 1e18;
  for (int i = 0; i < rounds; ++i) least = std::min(least, us_of_one(work));
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
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): a node keeps its function
  const auto all = node(replay_safe("all"), [kept](Scope& scope, int count) -> Async<int> {
    int n = 0;
    for (int i = 0; i < count; ++i) n = co_await scope.call(kept, n);
    co_return n;
  });
  const auto folder = std::filesystem::temp_directory_path() / ("flow-figures-" + std::to_string(::getpid()));
  SystemClock clock;
  double least = 1e18;
  for (int round = 0; round < 5; ++round) {
    const auto store = store::SqliteStore::open({.folder = folder});
    {
      Session session(pool, clock, {}, RunJournal::begin(pool, *store, clock));
      // It returns when all of it is durable.
      least = std::min(least, us_of_one([&] { session.call_sync(all, calls); }));
    }
    pool.run(store->close());
  }
  std::filesystem::remove_all(folder);
  return least / calls;
}

double save_us(Strategy& pool, int calls) {
  Session session(pool);
  session.call_sync(in_turn, calls - 1);
  SystemRandom random;
  const SavedSession saved{.uuid = Uuid::draw(random), .start = {}, .end = {}};
  const auto file = std::filesystem::temp_directory_path() / ("flow-figures-" + saved.uuid.text());
  const double us = least_us(15, [&] {
    std::filesystem::remove(file);
    store::replace_file(file, saved_state(saved, session.info().graph));
  });
  std::filesystem::remove(file);
  return us;
}

double written_us(Strategy& pool, int calls) {
  Session session(pool);
  session.call_sync(in_turn, calls - 1);
  return least_us(15, [&] { session.payload(); });
}

// How much faster two threads do the same work than one: of nodes, and of bare threads, which is what the machine
// itself gives. Many short rounds of all four in turn, of which the shortest of each count: those that the machine's
// other work did not disturb.
struct SpeedUp {
  double of_nodes = 0, of_threads = 0;
};

SpeedUp speed_up() {
  constexpr int calls = 4;
  ThreadPool one(1), two(2);
  Session on_one(one), on_two(two);
  const auto bare = [](int threads) {
    std::vector<std::jthread> running;
    std::atomic<int> sum = 0;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&sum, threads] {
        for (int call = 0; call < calls / threads; ++call) sum += computed(call);
      });
    }
  };
  double nodes_on_one = 1e18, nodes_on_two = 1e18, one_thread = 1e18, two_threads = 1e18;
  for (int round = 0; round < 120; ++round) {
    nodes_on_one = std::min(nodes_on_one, us_of_one([&] { on_one.call_sync(compute_all, calls); }));
    nodes_on_two = std::min(nodes_on_two, us_of_one([&] { on_two.call_sync(compute_all, calls); }));
    one_thread = std::min(one_thread, us_of_one([&] { bare(1); }));
    two_threads = std::min(two_threads, us_of_one([&] { bare(2); }));
  }
  return {.of_nodes = nodes_on_one / nodes_on_two, .of_threads = one_thread / two_threads};
}

class Printer {
 public:
  explicit Printer(std::string only) : only_(std::move(only)) {}

  bool wants(std::string_view name) const { return name.find(only_) != std::string_view::npos; }

  template <class F>
  void line(std::string_view name, std::string_view unit, std::optional<double> asked, F measure) const {
    if (!wants(name)) return;
    fmt::print(R"({{"name": "{}", "value": {:.4g}, "unit": "{}", "asked": {}}})"
               "\n",
               name, measure(), unit, asked ? fmt::format("{}", *asked) : "null");
    std::fflush(stdout);
  }

 private:
  const std::string only_;
};

void print_calls(const Printer& print, Strategy& pool) {
  print.line("a call, recorded", "us", 2, [&] { return us_of(pool, true, in_turn, 100'000) / 100'000; });
  print.line("a call, not recorded", "us", 0.3, [&] { return us_of(pool, false, in_turn, 100'000) / 100'000; });
  print.line("a call of a coroutine, recorded", "us", 2,
             [&] { return us_of(pool, true, coroutines_in_turn, 100'000) / 100'000; });
  print.line("a call of a coroutine, not recorded", "us", 0.3,
             [&] { return us_of(pool, false, coroutines_in_turn, 100'000) / 100'000; });
  print.line("a call, kept in a journal on disk", "us", 10, [&] { return kept_us(pool, 20'000); });
  print.line("fan-out of 1,000", "ms", 3, [&] { return us_of(pool, true, at_once, 1'000) / 1'000; });
  print.line("fan-out of 100,000", "ms", 400, [&] { return us_of(pool, true, at_once, 100'000) / 1'000; });
  print.line("fan-out of 1,000 coroutines", "ms", 3,
             [&] { return us_of(pool, true, coroutines_at_once, 1'000) / 1'000; });
  print.line("fan-out of 100,000 coroutines", "ms", 400,
             [&] { return us_of(pool, true, coroutines_at_once, 100'000) / 1'000; });
  print.line("calls 10,000 deep", "ms", std::nullopt, [&] { return us_of(pool, true, deep, 10'000) / 1'000; });
}

void print_sessions(const Printer& print, Strategy& pool) {
  print.line("a session made and closed", "us", 20, [&] {
    return least_us(7,
                    [&] {
                      for (int i = 0; i < 1'000; ++i) Session session(pool);
                    }) /
           1'000;
  });
  print.line("a session with one call", "us", std::nullopt, [&] {
    return least_us(7,
                    [&] {
                      for (int i = 0; i < 1'000; ++i) Session(pool).call_sync(trivial, 1);
                    }) /
           1'000;
  });
  print.line("saving 1,000 calls, synced", "ms", 10, [&] { return save_us(pool, 1'000) / 1'000; });
  print.line("saving 1,000 calls, up to the file", "ms", std::nullopt,
             [&] { return written_us(pool, 1'000) / 1'000; });
  print.line("memory of a recorded call", "bytes", 1024, [&] { return bytes_of_a_call(pool, 100'000); });
}

void print_speed_up(const Printer& print) {
  const std::string_view name = "CPU-bound nodes on two threads";
  if (!print.wants(name)) return;
  const SpeedUp found = speed_up();
  const std::string_view unit = "times as fast as on one";
  print.line(name, unit, 1.8, [&] { return found.of_nodes; });
  print.line("CPU-bound nodes on two threads, bare threads", unit, std::nullopt, [&] { return found.of_threads; });
  print.line("CPU-bound nodes on two threads, of what bare threads gain", "of it", std::nullopt,
             [&] { return found.of_nodes / found.of_threads; });
}

void print(std::string only) {
  set_config({.logging_setting = LoggingSetting::none, .save_state = false});
  const Printer print(std::move(only));
  ThreadPool pool;
  print_calls(print, pool);
  print_sessions(print, pool);
  print_speed_up(print);
}

}  // namespace
}  // namespace sojourn::bench

int main(int count, char** arguments) {
  sojourn::bench::print(count > 1 ? arguments[1] : "");
}
