#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/session/journal.hpp"
#include "sojourn/session/session.hpp"
#include "sojourn/session/steps.hpp"
#include "sojourn/store/store.hpp"

// A session that a store keeps. Everything done to it becomes durable in steps, one commit each, one at a time.
namespace sojourn::session {

struct Draft;

// What one commit does, besides taking along the events that wait in the journal.
struct Step {
  std::vector<NewEvent> events;           // after those that wait
  std::vector<store::StateChange> state;  // of Session::state(); accepted with the commit
  std::vector<store::TaskRecord> tasks;
  std::vector<store::ResourceRecord> resources_added;
  std::vector<std::string> resources_released;
  std::vector<store::StepRecord> steps;
  store::Usage usage;                               // added to the head's
  std::optional<std::uint64_t> expected_version;    // else precondition_failed
  std::function<void(store::SessionHead&)> change;  // applied to the head when this step's turn has come
  // Puts the step together when its turn has come, before `change`. Whether there is anything to commit by it.
  std::function<bool(Draft&)> compose;
  // The last event, where it tells of the head as this step leaves it.
  std::function<NewEvent(const store::SessionHead&)> closing;
};

// How a session begins.
struct Beginning {
  store::SessionRecord record;  // an empty id is drawn; times, version, chain and updated_at are set
  NewEvent created;             // the first event
  std::vector<NewEvent> events;
  std::vector<store::StateChange> state;
  // Rows that belong to the session from its first commit on; session_id is set.
  std::vector<store::TaskRecord> tasks;
  std::string opening_key;
};

// Threads: one executor.
class KeptSession {
 public:
  // Errors: already_exists for a given id or an opening key that is taken; those of Store::create. Durable: when it
  // returns.
  static Async<std::unique_ptr<KeptSession>> create(store::Store& store, Clock& clock, Random& random,
                                                    Beginning beginning);

  // Goes on with what the store adopted for this owner.
  KeptSession(store::Store& store, Clock& clock, store::Snapshot snapshot);

  Session& session() { return session_; }
  Journal& journal() { return journal_; }
  const store::SessionRecord& record() const { return record_; }
  const std::string& id() const { return record_.id; }
  bool is_active() const { return record_.head.status == store::SessionStatus::active; }

  // Makes `step` durable. When it fails nothing has changed but that the journal's waiting events still wait, and the
  // state's changes are still pending.
  // Errors: precondition_failed; what `compose` throws; those of Store::commit. Order: of the calls.
  Async<void> commit(Step step);

  // Reads what the store has of these steps, for the entries of the next commit. Errors: those of Store.
  Async<void> learn_steps(std::set<std::string> names);

 private:
  store::Store& store_;
  Clock& clock_;
  store::SessionRecord record_;
  Session session_;
  Journal journal_;
  StepBook steps_;
  AsyncMutex turn_;
};

// `"key":"<sha256>"` of each change, null for a deleted key, in braces: what an event tells of the state it changed.
store::JsonText state_hashes(const std::vector<store::StateChange>& changes);

}  // namespace sojourn::session
