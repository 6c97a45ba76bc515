#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "bench/counter_app.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/sqlite_store.hpp"

// What a session takes of memory, live and at rest, one JSON object a line: {"name", "value", "unit", "asked"}.
//
// The runtime and the store run in this process, without HTTP. What C++ code allocates is counted, what SQLite does
// apart. Counted in is what the store's writer remembers of each session (docs/reference/limits.md).
namespace {

std::atomic<std::int64_t> given_out = 0;  // bytes

void* count(void* piece) {
  if (piece == nullptr) throw std::bad_alloc();
  given_out += static_cast<std::int64_t>(::malloc_usable_size(piece)) + 8;
  return piece;
}

void give_back(void* piece) noexcept {
  if (piece != nullptr) given_out -= static_cast<std::int64_t>(::malloc_usable_size(piece)) + 8;
  std::free(piece);
}

}  // namespace

// The other forms of new and delete go through these.
void* operator new(std::size_t bytes) {
  return count(std::malloc(bytes));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  return count(std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept try {
  return operator new(bytes);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void operator delete(void* piece) noexcept {
  give_back(piece);
}
void operator delete(void* piece, std::size_t) noexcept {
  give_back(piece);
}
void operator delete(void* piece, std::align_val_t) noexcept {
  give_back(piece);
}
void operator delete(void* piece, std::size_t, std::align_val_t) noexcept {
  give_back(piece);
}

namespace sojourn::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t at_once = 256;  // of sessions that are being created or called

struct Memory {
  std::int64_t own = 0;        // bytes that C++ code holds, with the allocator's eight for each piece
  std::int64_t libraries = 0;  // bytes that C libraries hold: SQLite's pages, nearly all
  std::int64_t resident = 0;

  static Memory now() {
    ::malloc_trim(0);
    const auto info = ::mallinfo2();
    const std::int64_t own = given_out;
    std::ifstream statm("/proc/self/statm");
    std::int64_t pages = 0;
    statm >> pages >> pages;
    return {.own = own,
            .libraries = static_cast<std::int64_t>(info.uordblks + info.hblkhd) - own,
            .resident = pages * ::sysconf(_SC_PAGESIZE)};
  }
};

void tell(const std::string& name, double value, std::string_view unit, Json asked = nullptr) {
  fmt::print("{}\n", to_text(JsonObject{{"name", name}, {"value", value}, {"unit", unit}, {"asked", asked}}));
  std::fflush(stdout);
}

double each(std::int64_t bytes, std::size_t count) {
  return static_cast<double>(bytes) / static_cast<double>(count);
}

// A server's runtime without the server.
class House {
 public:
  House(Executor executor, const fs::path& folder, Milliseconds rest_after)
      : store_(store::SqliteStore::open({.folder = folder})),
        runtime_(executor, *store_, clock_, random_, log_,
                 {.owner = "bench",
                  .make_folder = {},
                  .cancel_grace = Seconds(2),
                  .close_grace = Seconds(5),
                  .rest_after = rest_after}),
        executor_(std::move(executor)) {
    runtime_.add_app(std::make_shared<CounterApp>());
  }

  // Calls `begin` for 0 to `count`, several at once.
  template <class Begin>
  Async<void> repeat(std::size_t count, Begin begin) {
    std::size_t next = 0;
    TaskGroup group(executor_);
    for (std::size_t i = 0; i < at_once; ++i) group.spawn(take_turns(next, count, begin));
    co_await group.join();
  }

  Async<void> close() {
    co_await runtime_.close(clock_.instant());
    co_await store_->close();
  }

  runtime::Runtime& runtime() { return runtime_; }
  Clock& clock() { return clock_; }

 private:
  template <class Begin>
  static Async<void> take_turns(std::size_t& next, std::size_t count, Begin begin) {
    while (next < count) co_await begin(next++);
  }

  SystemClock clock_;
  SystemRandom random_;
  Log log_ = Log::silent();
  std::unique_ptr<store::SqliteStore> store_;
  runtime::Runtime runtime_;
  Executor executor_;
};

struct CallOne {
  runtime::Runtime& runtime;
  std::vector<std::string>& ids;

  // The first call of a session opens it.
  Async<void> operator()(std::size_t number) const {
    runtime::RunRequest request{.app = "counter", .input = JsonObject{{"key", "n"}, {"amount", 1}}};
    request.session = ids[number].empty() ? "new" : ids[number];
    const runtime::TaskView view = co_await runtime.run(std::move(request));
    ids[number] = view.task.session_id;
  }
};

struct CallOnce {
  runtime::Runtime& runtime;

  // A session of its own, which ends with the call.
  Async<void> operator()(std::size_t) const {
    co_await runtime.run({.app = "counter", .input = JsonObject{{"key", "n"}, {"amount", 1}}});
  }
};

struct CreateOne {
  runtime::Runtime& runtime;

  Async<void> operator()(std::size_t) const { co_await runtime.create_session({}); }
};

// Sessions of an app in C++, each with its worker, called `calls` times.
Async<void> live_sessions(Executor executor, fs::path folder, std::size_t count, std::size_t calls) {
  House house(executor, folder, Seconds(30));
  std::vector<std::string> warm(at_once);
  co_await house.repeat(at_once, CallOne{house.runtime(), warm});
  std::vector<std::string> ids(count);
  for (std::string& id : ids) id.reserve(32);
  for (std::string& id : ids) id.clear();
  const Memory before = Memory::now();
  for (std::size_t i = 0; i < calls; ++i) co_await house.repeat(count, CallOne{house.runtime(), ids});
  const Memory after = Memory::now();
  const std::string name = fmt::format("live session of a C++ app, {} of them", count);
  tell(name, each(after.own - before.own, count), "bytes of heap each", 4096.0);
  tell(name, each(after.resident - before.resident, count), "bytes resident each, with the store's pages");
  co_await house.close();
}

// Makes sessions and returns when none of them is in memory.
template <class Make>
Async<Memory> gone(House& house, std::size_t count, Make make) {
  co_await house.repeat(count, make);
  while (house.runtime().statistics().live_sessions > 0) {
    co_await sleep_until(house.clock(), house.clock().instant() + Milliseconds(20));
  }
  co_return Memory::now();
}

// Twice as many of them, so that caches are as full before as after and only what stays for each session counts.
Async<void> resting_sessions(Executor executor, fs::path folder, std::size_t count) {
  House house(executor, folder, Milliseconds(100));
  const Memory before = co_await gone(house, count, CreateOne{house.runtime()});
  const Memory after = co_await gone(house, count, CreateOne{house.runtime()});
  const std::string name = fmt::format("session at rest, {} of them and as many again", count);
  tell(name, each(after.own - before.own, count), "bytes of heap each", 1.0);
  tell(name, static_cast<double>(after.own) / (1 << 20), "MiB of heap in all, with the caches");
  tell(name, static_cast<double>(after.libraries) / (1 << 20), "MiB of the store's pages in all", 80.0);
  tell(name, static_cast<double>(after.resident) / (1 << 20), "MiB resident in all");
  co_await house.close();
}

// Likewise, of sessions that were called once and have ended.
Async<void> ended_sessions(Executor executor, fs::path folder, std::size_t count) {
  House house(executor, folder, Seconds(30));
  const Memory before = co_await gone(house, count, CallOnce{house.runtime()});
  const Memory after = co_await gone(house, count, CallOnce{house.runtime()});
  tell(fmt::format("session that has ended, {} of them and as many again", count),
       each(after.own - before.own, count), "bytes of heap each", 1.0);
  co_await house.close();
}

// A store with sessions that were called once and have ended, for others to measure.
Async<void> make_store(Executor executor, fs::path folder, std::size_t count) {
  House house(executor, folder, Seconds(30));
  co_await house.repeat(count, CallOnce{house.runtime()});
  co_await house.close();
}

}  // namespace
}  // namespace sojourn::bench

int main(int count, char** words) {
  using namespace sojourn;
  CLI::App line("What a session takes of memory, live and at rest");
  std::string folder;
  std::size_t live = 10'000;
  std::size_t calls = 2;
  std::size_t resting = 100'000;
  std::size_t ended = 10'000;
  std::size_t made = 0;
  line.add_option("--data", folder, "an empty folder for the stores")->required();
  line.add_option("--make", made, "make a store in it of so many sessions that have ended, and measure nothing");
  line.add_option("--live", live, "live sessions; 0: none");
  line.add_option("--calls", calls, "of each live session");
  line.add_option("--resting", resting, "sessions at rest; 0: none");
  line.add_option("--ended", ended, "sessions that have ended; 0: none");
  CLI11_PARSE(line, count, words);

  const std::filesystem::path data = folder;
  if (made > 0) {
    Loop loop;
    loop.run(bench::make_store(loop.executor(), data, made));
    return 0;
  }
  if (live > 0) {
    Loop loop;
    loop.run(bench::live_sessions(loop.executor(), data / "live", live, calls));
  }
  if (resting > 0) {
    Loop loop;
    loop.run(bench::resting_sessions(loop.executor(), data / "resting", resting));
  }
  if (ended > 0) {
    Loop loop;
    loop.run(bench::ended_sessions(loop.executor(), data / "ended", ended));
  }
  return 0;
}
