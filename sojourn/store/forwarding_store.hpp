#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/store/store.hpp"

namespace sojourn::store {

// Hands everything to another store. A class that derives from it says only what it does differently.
// Lifetime: `inner` is used as long as it lives.
class ForwardingStore : public Store {
 public:
  explicit ForwardingStore(Store& inner) : inner_(inner) {}

  Async<void> create(NewSession session) override { return inner_.create(std::move(session)); }
  Async<std::uint64_t> commit(Commit commit) override { return inner_.commit(std::move(commit)); }
  Async<Snapshot> adopt(std::string session_id, std::string owner) override {
    return inner_.adopt(std::move(session_id), std::move(owner));
  }
  Async<std::optional<Snapshot>> load(std::string session_id) override { return inner_.load(std::move(session_id)); }
  Async<std::optional<FullSession>> load_all(std::string session_id, std::size_t most_bytes) override {
    return inner_.load_all(std::move(session_id), most_bytes);
  }
  Async<std::optional<TaskRecord>> task(std::string task_id) override { return inner_.task(std::move(task_id)); }
  Async<std::optional<TaskRecord>> task_by_key(std::string session_id, std::string idempotency_key) override {
    return inner_.task_by_key(std::move(session_id), std::move(idempotency_key));
  }
  Async<std::string> session_opened_by(std::string opening_key) override {
    return inner_.session_opened_by(std::move(opening_key));
  }
  Async<std::vector<TaskRecord>> tasks(std::string session_id, std::uint64_t from_seq, std::size_t limit) override {
    return inner_.tasks(std::move(session_id), from_seq, limit);
  }
  Async<std::vector<Event>> events(std::string session_id, std::uint64_t from_seq, std::size_t limit) override {
    return inner_.events(std::move(session_id), from_seq, limit);
  }
  Async<SessionPage> list(SessionQuery query, std::string cursor, std::size_t limit) override {
    return inner_.list(std::move(query), std::move(cursor), limit);
  }
  Async<std::uint64_t> count(SessionQuery query) override { return inner_.count(std::move(query)); }
  Async<std::optional<std::string>> cursor_after(SessionQuery query, std::uint64_t count) override {
    return inner_.cursor_after(std::move(query), count);
  }
  Async<std::vector<StepRecord>> steps(std::string session_id, std::uint64_t from_number,
                                       std::size_t limit) override {
    return inner_.steps(std::move(session_id), from_number, limit);
  }
  Async<std::vector<StepRecord>> latest_attempts(std::string session_id, std::vector<std::string> names) override {
    return inner_.latest_attempts(std::move(session_id), std::move(names));
  }
  Async<StepSummary> step_summary(std::string session_id) override {
    return inner_.step_summary(std::move(session_id));
  }
  Async<Leftovers> leftovers() override { return inner_.leftovers(); }
  Async<Purgeable> purgeable(SessionQuery query, std::size_t limit, std::uint64_t after) override {
    return inner_.purgeable(std::move(query), limit, after);
  }
  Async<std::uint64_t> purge(std::vector<std::string> session_ids) override {
    return inner_.purge(std::move(session_ids));
  }
  Async<std::vector<std::string>> unswept(std::size_t limit) override { return inner_.unswept(limit); }
  Async<void> sweep(std::string session_id) override { return inner_.sweep(std::move(session_id)); }
  Async<std::optional<Tombstone>> tombstone(std::string session_id) override {
    return inner_.tombstone(std::move(session_id));
  }
  Async<void> close() override { return inner_.close(); }

 protected:
  Store& inner_;
};

}  // namespace sojourn::store
