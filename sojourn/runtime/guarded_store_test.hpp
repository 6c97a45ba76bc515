#pragma once

#include <functional>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/store/memory_store.hpp"

namespace sojourn::runtime {

// A memory store whose changes a test can refuse or hold up.
class GuardedStore final : public store::Store {
 public:
  explicit GuardedStore(store::MemoryStore& store) : store_(store) {}

  std::function<bool(const store::Commit&)> refuses;  // which commits fail with store_full
  bool holds_commits = false;                         // until `release`
  bool holds_creates = false;                         // until `release`
  bool holds_keys = false;                            // searches by key, until `release`
  Event release;
  std::string last_task;  // of the newest commit with one, also while that is held

  Async<void> create(store::NewSession session) override {
    co_await store_.create(std::move(session));
    if (holds_creates) co_await release.wait();
  }
  Async<std::uint64_t> commit(store::Commit commit) override {
    if (!commit.tasks.empty()) last_task = commit.tasks.back().id;
    if (holds_commits) co_await release.wait();
    if (refuses && refuses(commit)) throw Error(ErrorCode::store_full, "the disk is full");
    co_return co_await store_.commit(std::move(commit));
  }
  Async<store::Snapshot> adopt(std::string session_id, std::string owner) override {
    return store_.adopt(std::move(session_id), std::move(owner));
  }
  Async<std::optional<store::Snapshot>> load(std::string session_id) override {
    return store_.load(std::move(session_id));
  }
  Async<std::optional<store::FullSession>> load_all(std::string session_id, std::size_t most_bytes) override {
    return store_.load_all(std::move(session_id), most_bytes);
  }
  Async<std::optional<store::TaskRecord>> task(std::string task_id) override {
    return store_.task(std::move(task_id));
  }
  Async<std::optional<store::TaskRecord>> task_by_key(std::string session_id, std::string key) override {
    if (holds_keys) co_await release.wait();
    co_return co_await store_.task_by_key(std::move(session_id), std::move(key));
  }
  Async<std::string> session_opened_by(std::string key) override {
    if (holds_keys) co_await release.wait();
    co_return co_await store_.session_opened_by(std::move(key));
  }
  Async<std::vector<store::TaskRecord>> tasks(std::string session_id, std::uint64_t from_seq,
                                              std::size_t limit) override {
    return store_.tasks(std::move(session_id), from_seq, limit);
  }
  Async<std::vector<store::Event>> events(std::string session_id, std::uint64_t from_seq,
                                          std::size_t limit) override {
    return store_.events(std::move(session_id), from_seq, limit);
  }
  Async<store::SessionPage> list(store::SessionQuery query, std::string cursor, std::size_t limit) override {
    return store_.list(std::move(query), std::move(cursor), limit);
  }
  Async<std::uint64_t> count(store::SessionQuery query) override { return store_.count(std::move(query)); }
  Async<std::optional<std::string>> cursor_after(store::SessionQuery query, std::uint64_t count) override {
    return store_.cursor_after(std::move(query), count);
  }
  Async<std::vector<store::StepRecord>> steps(std::string session_id, std::uint64_t from_number,
                                              std::size_t limit) override {
    return store_.steps(std::move(session_id), from_number, limit);
  }
  Async<std::vector<store::StepRecord>> latest_attempts(std::string session_id,
                                                        std::vector<std::string> names) override {
    return store_.latest_attempts(std::move(session_id), std::move(names));
  }
  Async<store::StepSummary> step_summary(std::string session_id) override {
    return store_.step_summary(std::move(session_id));
  }
  Async<store::Leftovers> leftovers() override { return store_.leftovers(); }
  Async<std::uint64_t> purge(store::SessionQuery query, std::size_t limit) override {
    return store_.purge(std::move(query), limit);
  }
  Async<std::vector<std::string>> unswept(std::size_t limit) override { return store_.unswept(limit); }
  Async<void> sweep(std::string session_id) override { return store_.sweep(std::move(session_id)); }
  Async<std::optional<store::Tombstone>> tombstone(std::string session_id) override {
    return store_.tombstone(std::move(session_id));
  }
  Async<void> close() override { return store_.close(); }

 private:
  store::MemoryStore& store_;
};

}  // namespace sojourn::runtime
