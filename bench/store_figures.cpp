#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <filesystem>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "bench/bare_store.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/verify.hpp"

// The store's figures, one JSON object a line: {"name", "value", "unit", "asked"}; asked is null where nothing is.
namespace sojourn::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void tell(const std::string& name, double value, std::string_view unit, Json asked = nullptr) {
  const JsonObject line{{"name", name}, {"value", value}, {"unit", unit}, {"asked", std::move(asked)}};
  fmt::print("{}\n", to_text(line));
  std::fflush(stdout);
}

// A folder for one measurement.
class Folder {
 public:
  explicit Folder(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Session {
  std::string id;
  std::uint64_t version = 1;
  store::SessionHead head;
};

std::string id_of(std::size_t number) {
  return fmt::format("sess_20260115_103045_{:06x}", number);
}

store::Event link(store::ChainHead& head, std::string_view type, std::string_view data) {
  store::Event event{.seq = head.seq + 1, .body = {}, .hash = {}};
  event.body =
      fmt::format(R"({{"seq":{},"time":"2026-01-15T10:30:45.000000Z","type":"{}","actor":"local","data":{}}})",
                  event.seq, type, data);
  event.hash = store::chain_hash(head.hash, event.body);
  head = {event.seq, event.hash};
  return event;
}

store::NewSession new_session(const std::string& id) {
  store::NewSession session;
  session.record.id = id;
  session.record.app = "counter";
  session.record.head.chain.hash = store::chain_start(id);
  session.events.push_back(link(session.record.head.chain, "session.created", "{}"));
  return session;
}

// What one call leaves: an event, a state row, a task.
store::Commit one_call(Session& session, const std::string& value, const std::string& task) {
  store::Commit commit{.session_id = session.id, .epoch = 1, .version = session.version, .head = session.head};
  const std::string output = fmt::format(R"({{"value":{}}})", session.version);
  commit.events.push_back(link(
      commit.head.chain, "call.completed",
      fmt::format(R"({{"task":"{}","function":"increment","input":"{}","output":"{}","state":{{"n":"{}"}},"us":42}})",
                  task, to_hex(sha256("{}")), to_hex(sha256(output)), to_hex(sha256(value)))));
  commit.head.call_count += 1;
  commit.state = {{"n", value}};
  store::TaskRecord& record = commit.tasks.emplace_back();
  record.id = task;
  record.session_id = session.id;
  record.seq = commit.head.call_count;
  record.function = "increment";
  record.status = store::TaskStatus::completed;
  record.input = "{}";
  record.output = output;
  return commit;
}

struct Measured {
  std::vector<double> milliseconds;
  double seconds = 0;

  double rate() const { return static_cast<double>(milliseconds.size()) / seconds; }
  double percentile(double part) {
    if (milliseconds.empty()) return 0;
    std::ranges::sort(milliseconds);
    return milliseconds[static_cast<std::size_t>(part * static_cast<double>(milliseconds.size() - 1))];
  }
};

// One of the callers, who go round the sessions so that each has sessions of its own.
struct Caller {
  std::size_t first;
  std::size_t step;
  Clock::time_point end;
};

Async<void> call_ours(store::Store& store, std::vector<Session>& sessions, Caller caller, std::size_t state_bytes,
                      Measured& measured) {
  std::size_t number = caller.first;
  while (Clock::now() < caller.end) {
    Session& session = sessions[number];
    number += caller.step;
    if (number >= sessions.size()) number = caller.first;
    const std::string value = '"' + std::string(state_bytes, static_cast<char>('a' + session.version % 26)) + '"';
    store::Commit commit = one_call(session, value, fmt::format("task_{}_{}", session.id.substr(5), session.version));
    store::SessionHead head = commit.head;
    const Clock::time_point start = Clock::now();
    session.version = co_await store.commit(std::move(commit));
    measured.milliseconds.push_back(seconds_since(start) * 1e3);
    session.head = std::move(head);
  }
}

Async<void> call_bare(BareStore& store, std::string id, Caller caller, std::size_t state_bytes, Measured& measured) {
  for (std::int64_t version = 1; Clock::now() < caller.end; ++version) {
    const std::string value = '"' + std::string(state_bytes, static_cast<char>('a' + version % 26)) + '"';
    const std::string output = fmt::format(R"({{"value":{}}})", version);
    const Clock::time_point start = Clock::now();
    co_await store.commit({.session_id = id,
                           .version = version,
                           .updated_at = version,
                           .state_key = "n",
                           .state_value = value,
                           .event = std::string(330, 'e'),
                           .task_id = fmt::format("task_{}_{}", id.substr(5), version),
                           .input = "{}",
                           .output = output});
    measured.milliseconds.push_back(seconds_since(start) * 1e3);
  }
}

struct Load {
  std::size_t stored = 0;
  std::size_t state_bytes = 0;
  std::size_t callers = 64;
  double seconds = 2;
};

Async<Measured> measure_ours(store::Store& store, std::vector<Session>& sessions, Load load) {
  Measured measured;
  const Clock::time_point start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(load.seconds));
  TaskGroup group(co_await boost::asio::this_coro::executor);
  const std::size_t callers = std::min(load.callers, sessions.size());
  for (std::size_t i = 0; i < callers; ++i) {
    group.spawn(call_ours(store, sessions, {i, callers, end}, load.state_bytes, measured));
  }
  co_await group.join();
  measured.seconds = seconds_since(start);
  co_return measured;
}

Async<Measured> measure_bare(BareStore& store, Load load) {
  Measured measured;
  const Clock::time_point start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(load.seconds));
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (std::size_t i = 0; i < std::min(load.callers, load.stored); ++i) {
    group.spawn(call_bare(store, id_of(i), {i, 1, end}, load.state_bytes, measured));
  }
  co_await group.join();
  measured.seconds = seconds_since(start);
  co_return measured;
}

Async<void> create_some(store::Store& store, std::vector<Session>& sessions, Caller caller) {
  for (std::size_t i = caller.first; i < sessions.size(); i += caller.step) {
    store::NewSession session = new_session(id_of(i));
    sessions[i] = {session.record.id, 1, session.record.head};
    co_await store.create(std::move(session));
  }
}

Async<void> create_all(store::Store& store, std::vector<Session>& sessions) {
  constexpr std::size_t at_once = 256;
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (std::size_t i = 0; i < at_once; ++i) group.spawn(create_some(store, sessions, {i, at_once, {}}));
  co_await group.join();
}

template <class T>
Async<void> keep(Async<T> work, T& result) {
  result = co_await std::move(work);
}

void tell_commits(const std::string& name, Measured& measured, Json asked_p99 = nullptr) {
  tell(name + "_per_s", measured.rate(), "1/s");
  tell(name + "_p50", measured.percentile(0.5), "ms");
  tell(name + "_p99", measured.percentile(0.99), "ms", std::move(asked_p99));
}

Measured figure_commits(const fs::path& where, const std::string& name, Load load) {
  const Folder folder(where / "commits");
  Loop loop;
  const auto store = store::SqliteStore::open({.folder = folder.path()});
  std::vector<Session> sessions(load.stored);
  loop.run(create_all(*store, sessions));
  Measured measured;
  loop.run(keep(measure_ours(*store, sessions, load), measured));
  tell_commits(name, measured);
  loop.run(store->close());
  return measured;
}

void figure_bare(const fs::path& where, const std::string& name, Load load) {
  const Folder folder(where / "bare");
  Loop loop;
  Measured measured;
  BareStore store((folder.path() / "bare.db").string());
  loop.run(keep(measure_bare(store, load), measured));
  tell_commits(name, measured);
}

void figures_of_commits(const fs::path& where, double seconds) {
  figure_bare(where, "bare_commits_of_64_callers", {.stored = 64, .state_bytes = 10, .seconds = seconds});
  figure_commits(where, "commits_of_64_callers", {.stored = 64, .state_bytes = 10, .seconds = seconds});
  // The same eight callers each time, who go round all that is stored.
  double rate_of_10 = 0;
  for (const std::size_t stored : {10, 1'000, 100'000}) {
    const std::string name = fmt::format("commits_with_{}_stored", stored);
    const Measured measured =
        figure_commits(where, name, {.stored = stored, .state_bytes = 10, .callers = 8, .seconds = seconds});
    if (rate_of_10 == 0) rate_of_10 = measured.rate();
    tell(name + "_cost", rate_of_10 / measured.rate(), "times that of 10");
  }
  double rate_of_1 = 0;
  for (const std::size_t kilobytes : {1, 10, 100}) {
    const std::string name = fmt::format("commits_of_{}_kb", kilobytes);
    const Measured measured = figure_commits(
        where, name, {.stored = 64, .state_bytes = kilobytes * 1'000, .callers = 8, .seconds = seconds});
    if (rate_of_1 == 0) rate_of_1 = measured.rate();
    tell(name + "_cost", rate_of_1 / measured.rate(), "times that of 1 KB", static_cast<double>(kilobytes));
  }
}

Async<void> call_many(store::Store& store, std::vector<Session>& sessions, Caller caller, std::size_t calls) {
  for (std::size_t i = caller.first; i < sessions.size(); i += caller.step) {
    for (std::size_t call = 0; call < calls; ++call) {
      Session& session = sessions[i];
      store::Commit commit =
          one_call(session, std::to_string(call), fmt::format("task_{}_{}", session.id.substr(5), call));
      store::SessionHead head = commit.head;
      session.version = co_await store.commit(std::move(commit));
      session.head = std::move(head);
    }
  }
}

Async<void> fill_journals(store::Store& store, std::size_t count, std::size_t calls) {
  std::vector<Session> sessions(count);
  co_await create_all(store, sessions);
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (std::size_t i = 0; i < count; ++i) group.spawn(call_many(store, sessions, {i, count, {}}, calls));
  co_await group.join();
}

Async<std::uint64_t> verify_all(store::Store& store) {
  std::uint64_t events = 0;
  std::string cursor;
  do {
    const store::SessionPage page = co_await store.list({}, cursor, 100);
    std::vector<std::string> ids;
    for (const store::SessionRecord& session : page.sessions) ids.push_back(session.id);
    for (const store::VerifyReport& report : co_await store::verify(store, std::move(ids))) {
      if (!report.ok()) throw Error(ErrorCode::internal_error, "a journal does not verify: " + report.session_id);
      events += report.events;
    }
    cursor = page.next_cursor;
  } while (!cursor.empty());
  co_return events;
}

void figure_verify(const fs::path& where, std::size_t sessions, std::size_t calls) {
  const Folder folder(where / "verify");
  Loop loop;
  {
    const auto store = store::SqliteStore::open({.folder = folder.path()});
    loop.run(fill_journals(*store, sessions, calls));
    loop.run(store->close());
  }
  const Clock::time_point start = Clock::now();
  const auto store = store::SqliteStore::open({.folder = folder.path(), .mode = store::OpenMode::read_only});
  std::uint64_t events = 0;
  loop.run(keep(verify_all(*store), events));
  tell(fmt::format("verify_{}_sessions_of_{}_calls", sessions, calls),
       static_cast<double>(events) / seconds_since(start), "events/s", 300'000.0);
  loop.run(store->close());
}

// Sessions as they would be after long use, of which one in a thousand lives: written with SQL, for it is many.
void fill_store(const fs::path& folder, std::size_t count) {
  Loop loop;
  loop.run(store::SqliteStore::open({.folder = folder})->close());
  store::Connection connection(folder / "sojourn.db", store::OpenMode::read_write);
  connection.run("PRAGMA synchronous = OFF; BEGIN");
  for (const bool part : {false, true}) {
    const std::string numbers =
        fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) ", count);
    if (part) {
      connection.run(numbers +
                     "INSERT INTO givens (session, context, setup, metadata) "
                     "SELECT i, '{\"order\":' || i || '}', 'null', '{}' FROM n");
    } else {
      connection.run(
          numbers +
          "INSERT INTO sessions (row, id, app, app_version, user, lifecycle, labels, created_at, owner, epoch, "
          "version, status, stage, chain_seq, chain_hash, call_count, updated_at, end_reason, error) "
          "SELECT i, printf('sess_20260115_103045_%06x', i), 'app' || (i % 10), '1', 'user' || (i % 1000), '', "
          "'{\"line\":\"' || (i % 100) || '\"}', 1700000000000000 + i * 1000000, 'server', 1, 2, i % 1000 <> 0, "
          "'created', 1, zeroblob(32), 1, 1700000000000000 + i, '', 'null' FROM n");
    }
  }
  connection.run(
      "INSERT INTO labels SELECT json_array(l.key, l.atom), s.created_at, s.row FROM sessions s, json_each(s.labels) "
      "l");
  connection.run("COMMIT");
}

struct Page {
  std::string name;
  store::SessionQuery query;
};

// The medians of the times, in milliseconds, that the pages after `cursors` take, which are asked for in turn.
Async<std::vector<double>> times_of(store::Store& store, store::SessionQuery query,
                                    std::vector<std::string> cursors) {
  constexpr int rounds = 31;
  std::vector<std::vector<double>> times(cursors.size());
  for (int i = 0; i < rounds; ++i) {
    for (std::size_t page = 0; page < cursors.size(); ++page) {
      const Clock::time_point start = Clock::now();
      co_await store.list(query, cursors[page], 50);
      times[page].push_back(seconds_since(start) * 1e3);
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& each : times) {
    std::ranges::sort(each);
    medians.push_back(each[each.size() / 2]);
  }
  co_return medians;
}

// `filled` holds so many sessions; "" to make them first.
void figure_start(const fs::path& where, std::size_t count, const fs::path& filled) {
  std::optional<Folder> own;
  if (filled.empty()) fill_store(own.emplace(where / "start").path(), count);
  const fs::path folder = own ? own->path() : filled;
  Loop loop;
  const Clock::time_point start = Clock::now();
  const auto store = store::SqliteStore::open({.folder = folder});
  store::Leftovers leftovers;
  loop.run(keep(store->leftovers(), leftovers));
  tell(fmt::format("start_with_{}_stored", count), seconds_since(start), "s", 1.0);

  const Time middle(Microseconds(1'700'000'000'000'000 + static_cast<std::int64_t>(count) / 2 * 1'000'000));
  const std::vector<Page> pages = {
      {"all", {}},
      {"of_an_app", {.app = "app3"}},
      {"of_a_user", {.user = "user17"}},
      {"of_a_label", {.labels = {{"line", "42"}}}},
      {"of_no_label", {.labels = {{"line", "none"}}}},
      {"of_a_user_with_a_label", {.user = "user42", .labels = {{"line", "42"}}}},
      {"of_a_user_with_no_label", {.user = "user42", .labels = {{"line", "17"}}}},
      {"active", {.status = store::SessionStatus::active}},
      {"of_a_stage", {.stage = "created"}},
      {"ended_of_an_app_with_a_label",
       {.status = store::SessionStatus::ended, .app = "app3", .labels = {{"line", "3"}}}},
      {"ended_in_a_stage_without_any", {.status = store::SessionStatus::ended, .stage = "created", .app = "none"}},
      {"of_an_app_with_no_such_label", {.app = "app3", .labels = {{"line", "42"}}}},
      {"with_a_text_in_the_id", {.id_text = "00a1b2"}},
      {"of_an_hour", {.created_from = middle, .created_before = middle + Seconds(3'600)}},
  };
  for (const Page& page : pages) {
    std::optional<std::string> late;
    loop.run(keep(store->cursor_after(page.query, 50 * 999), late));
    std::vector<std::string> cursors = {""};
    if (late) cursors.push_back(*late);
    std::vector<double> milliseconds;
    loop.run(keep(times_of(*store, page.query, cursors), milliseconds));
    tell(fmt::format("page_{}_of_{}", page.name, count), milliseconds[0], "ms", 3.0);
    if (late) tell(fmt::format("page_1000_{}_of_{}", page.name, count), milliseconds[1], "ms", milliseconds[0]);
  }
  loop.run(store->close());
}

}  // namespace
}  // namespace sojourn::bench

int main(int argc, char** argv) {
  CLI::App app("The store's figures, one JSON object a line.");
  std::string folder = "build/bench/store";
  double seconds = 2;
  std::size_t stored = 1'000'000;
  std::string filled;
  app.add_option("--filled", filled, "a folder that --fill has made, for what a start finds");
  std::string only;
  const std::set<std::string> kinds = {"commits", "verify", "start"};
  app.add_option("--folder", folder, "where the databases are made, on the disk that is measured");
  app.add_option("--seconds", seconds, "of each load of commits");
  app.add_option("--stored", stored, "sessions that a start finds");
  std::string fill;
  app.add_option("--fill", fill, "only make a store of --stored sessions in this folder");
  app.add_option("--only", only, "one kind of figure")->check(CLI::IsMember(kinds));
  CLI11_PARSE(app, argc, argv);
  using namespace sojourn::bench;
  if (!fill.empty()) {
    fill_store(fill, stored);
    return 0;
  }
  if (only.empty() || only == "commits") figures_of_commits(folder, seconds);
  if (only.empty() || only == "verify") figure_verify(folder, 100, 1'000);
  if (only.empty() || only == "verify") figure_verify(folder, 20'000, 4);
  if (only.empty() || only == "start") figure_start(folder, stored, filled);
  return 0;
}
