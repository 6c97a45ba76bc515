#pragma once

#include <functional>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/store/forwarding_store.hpp"
#include "sojourn/store/memory_store.hpp"

namespace sojourn::runtime {

// A memory store whose changes a test can refuse or hold up.
class GuardedStore final : public store::ForwardingStore {
 public:
  explicit GuardedStore(store::MemoryStore& store) : ForwardingStore(store) {}

  std::function<bool(const store::Commit&)> refuses;  // which commits fail with store_full
  bool holds_commits = false;                         // until `release`
  bool holds_creates = false;                         // until `release`
  bool holds_keys = false;                            // searches by key, until `release`
  Event release;
  std::string last_task;  // of the newest commit with one, also while that is held

  Async<void> create(store::NewSession session) override {
    co_await inner_.create(std::move(session));
    if (holds_creates) co_await release.wait();
  }
  Async<std::uint64_t> commit(store::Commit commit) override {
    if (!commit.tasks.empty()) last_task = commit.tasks.back().id;
    if (holds_commits) co_await release.wait();
    if (refuses && refuses(commit)) throw Error(ErrorCode::store_full, "the disk is full");
    co_return co_await inner_.commit(std::move(commit));
  }
  Async<std::optional<store::TaskRecord>> task_by_key(std::string session_id, std::string key) override {
    if (holds_keys) co_await release.wait();
    co_return co_await inner_.task_by_key(std::move(session_id), std::move(key));
  }
  Async<std::string> session_opened_by(std::string key) override {
    if (holds_keys) co_await release.wait();
    co_return co_await inner_.session_opened_by(std::move(key));
  }
};

}  // namespace sojourn::runtime
