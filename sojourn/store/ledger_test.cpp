#include "sojourn/store/ledger_test.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>

#include "sojourn/base/task_group.hpp"
#include "sojourn/store/verify.hpp"

namespace sojourn::store {

namespace {

// The step that takes a session from `writing`'s version to the next: the same one whenever it is asked for.
Commit step_after(const Writing& writing) {
  const std::uint64_t step = writing.version;
  const std::string task = fmt::format("task_{}_{}", writing.id, step);
  Commit commit = writing.next({"log"});
  commit.head.stage = step % 2 == 0 ? "even" : "odd";
  commit.head.call_count = step;
  commit.state = {{"step", std::to_string(step)}};
  commit.state.push_back({fmt::format("large_{}", step % 3), std::string(1'000 + 700 * (step % 4), 'x')});
  if (step % 3 == 2) commit.state.push_back({"large_0", std::nullopt});
  commit.tasks = {new_task(task, writing.id, step, fmt::format("key_{}", step))};
  commit.tasks[0].status = TaskStatus::completed;
  commit.tasks[0].output = fmt::format("[{}]", step);
  if (step % 2 == 1) {
    commit.resources_added = {{writing.id, fmt::format("r{}", step), "path", 1, start_time, R"({"path":"/x"})"}};
  } else {
    commit.resources_released = {fmt::format("r{}", step - 1)};
  }
  std::string changes;
  for (const StateChange& change : commit.state) {
    const std::string hash = change.value ? '"' + to_hex(sha256(*change.value)) + '"' : "null";
    changes += fmt::format("{}\"{}\":{}", changes.empty() ? "" : ",", change.key, hash);
  }
  commit.events.push_back(link(commit.head.chain, "call.completed",
                               fmt::format(R"({{"task":"{}","output":"{}","state":{{{}}}}})", task,
                                           to_hex(sha256(commit.tasks[0].output)), changes)));
  return commit;
}

}  // namespace

Ledger::Ledger(int sessions) {
  for (int i = 0; i < sessions; ++i) entries_.emplace_back(fmt::format("sess_{}", i));
}

bool Ledger::write(Store& store, int steps, int tries) {
  all_taken_ = true;
  run(write_all(store, steps, tries));
  return all_taken_;
}

Async<void> Ledger::write_all(Store& store, int steps, int tries) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (Entry& entry : entries_) group.spawn(write_some(*this, store, entry, steps, tries));
  co_await group.join();
}

Async<void> Ledger::write_some(Ledger& ledger, Store& store, Entry& entry, int steps, int tries) {
  for (int i = 0; i < steps; ++i) {
    bool taken = false;
    for (int attempt = 0; attempt < tries && !taken; ++attempt) taken = co_await ledger.step(store, entry);
    if (taken) continue;
    ledger.all_taken_ = false;
    co_return;
  }
}

Async<bool> Ledger::step(Store& store, Entry& entry) {
  Writing& writing = entry.writing;
  try {
    if (!entry.created) {
      entry.creating = true;
      co_await store.create(new_session(writing.id));
      entry.created = true;
    } else {
      Commit commit = step_after(writing);
      if (entry.commits.size() < writing.version) entry.commits.push_back(commit);
      writing.version = co_await store.commit(commit);
      writing.head = commit.head;
    }
    co_return true;
  } catch (const Error& error) {
    refusals_.insert(error.code());
    co_return false;
  }
}

void Ledger::check(Store& store, bool exactly) const {
  for (const Entry& entry : entries_) check(store, entry, exactly);
}

void Ledger::check(Store& store, const Entry& entry, bool exactly) {
  const Writing& writing = entry.writing;
  const std::optional<Snapshot> snapshot = run(store.load(writing.id));
  if (!snapshot) {
    EXPECT_FALSE(entry.created) << writing.id << " was lost";
    return;
  }
  EXPECT_TRUE(exactly ? entry.created : entry.creating) << writing.id << " was never acknowledged";
  const std::uint64_t version = snapshot->record.version;
  EXPECT_GE(version, writing.version) << writing.id << " lost a commit";
  EXPECT_LE(version, exactly ? writing.version : entry.commits.size() + 1) << writing.id;

  NewSession expected = new_session(writing.id);
  Snapshot held{.record = expected.record};
  std::vector<TaskRecord> tasks;
  for (std::size_t i = 0; i + 1 < version && i < entry.commits.size(); ++i) {
    const Commit& commit = entry.commits[i];
    held.record.version += 1;
    held.record.head = commit.head;
    expected.events.insert(expected.events.end(), commit.events.begin(), commit.events.end());
    for (const StateChange& change : commit.state) {
      held.state.erase(change.key);
      if (change.value) held.state.emplace(change.key, *change.value);
    }
    tasks.insert(tasks.end(), commit.tasks.begin(), commit.tasks.end());
    for (const std::string& id : commit.resources_released) {
      std::erase_if(held.resources, [&](const ResourceRecord& resource) { return resource.id == id; });
    }
    held.resources.insert(held.resources.end(), commit.resources_added.begin(), commit.resources_added.end());
  }
  expect_same(*snapshot, held);
  EXPECT_EQ(run(store.events(writing.id, 1, 1'000)), expected.events);
  EXPECT_EQ(run(store.tasks(writing.id, 0, 1'000)), tasks);
  const VerifyReport report = run(verify(store, writing.id));
  EXPECT_TRUE(report.ok()) << writing.id << ": " << (report.ok() ? "" : report.findings.front().message);
}

}  // namespace sojourn::store
