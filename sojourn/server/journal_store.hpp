#pragma once

#include <functional>
#include <string>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/store/store.hpp"

namespace sojourn::server {

// A store as a server uses it: the head of a session that is over is signed in the commit that ends it, and who
// listens hears of each commit. All else is the store's.
//
// Threads: as the store; `on_commit` is called on the executor of whoever committed.
class JournalStore final : public store::Store {
 public:
  // `on_commit` is told the session, durably changed, and whether it is over now.
  JournalStore(store::Store& inner, const SigningKey& key,
               std::function<void(const std::string&, bool over)> on_commit)
      : inner_(inner), key_(key), on_commit_(std::move(on_commit)) {}

  Async<void> create(store::NewSession session) override { return inner_.create(std::move(session)); }
  Async<std::uint64_t> commit(store::Commit commit) override;
  Async<store::Snapshot> adopt(std::string session_id, std::string owner) override {
    return inner_.adopt(std::move(session_id), std::move(owner));
  }
  Async<std::optional<store::Snapshot>> load(std::string session_id) override {
    return inner_.load(std::move(session_id));
  }
  Async<std::optional<store::FullSession>> load_all(std::string session_id, std::size_t most_bytes) override {
    return inner_.load_all(std::move(session_id), most_bytes);
  }
  Async<std::optional<store::TaskRecord>> task(std::string task_id) override {
    return inner_.task(std::move(task_id));
  }
  Async<std::optional<store::TaskRecord>> task_by_key(std::string session_id, std::string idempotency_key) override {
    return inner_.task_by_key(std::move(session_id), std::move(idempotency_key));
  }
  Async<std::string> session_opened_by(std::string opening_key) override {
    return inner_.session_opened_by(std::move(opening_key));
  }
  Async<std::vector<store::TaskRecord>> tasks(std::string session_id, std::uint64_t from_seq,
                                              std::size_t limit) override {
    return inner_.tasks(std::move(session_id), from_seq, limit);
  }
  Async<std::vector<store::Event>> events(std::string session_id, std::uint64_t from_seq,
                                          std::size_t limit) override {
    return inner_.events(std::move(session_id), from_seq, limit);
  }
  Async<store::SessionPage> list(store::SessionQuery query, std::string cursor, std::size_t limit) override {
    return inner_.list(std::move(query), std::move(cursor), limit);
  }
  Async<std::uint64_t> count(store::SessionQuery query) override { return inner_.count(std::move(query)); }
  Async<std::optional<std::string>> cursor_after(store::SessionQuery query, std::uint64_t count) override {
    return inner_.cursor_after(std::move(query), count);
  }
  Async<std::vector<store::StepRecord>> steps(std::string session_id, std::uint64_t from_number,
                                              std::size_t limit) override {
    return inner_.steps(std::move(session_id), from_number, limit);
  }
  Async<std::vector<store::StepRecord>> latest_attempts(std::string session_id,
                                                        std::vector<std::string> names) override {
    return inner_.latest_attempts(std::move(session_id), std::move(names));
  }
  Async<store::StepSummary> step_summary(std::string session_id) override {
    return inner_.step_summary(std::move(session_id));
  }
  Async<store::Leftovers> leftovers() override { return inner_.leftovers(); }
  Async<std::uint64_t> purge(store::SessionQuery query, std::size_t limit) override {
    return inner_.purge(std::move(query), limit);
  }
  Async<std::vector<std::string>> unswept(std::size_t limit) override { return inner_.unswept(limit); }
  Async<void> sweep(std::string session_id) override { return inner_.sweep(std::move(session_id)); }
  Async<std::optional<store::Tombstone>> tombstone(std::string session_id) override {
    return inner_.tombstone(std::move(session_id));
  }
  Async<void> close() override { return inner_.close(); }

 private:
  store::Store& inner_;
  const SigningKey& key_;
  std::function<void(const std::string&, bool over)> on_commit_;
};

}  // namespace sojourn::server
