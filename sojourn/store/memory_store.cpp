#include "sojourn/store/memory_store.hpp"

#include <algorithm>

#include "sojourn/base/json.hpp"
#include "sojourn/store/list_query.hpp"
#include "sojourn/store/refusals.hpp"
#include "sojourn/store/text_bound.hpp"

namespace sojourn::store {

namespace {

void put_state(std::map<std::string, JsonText>& state, std::vector<StateChange> changes) {
  for (StateChange& change : changes) {
    if (change.value) {
      state.insert_or_assign(std::move(change.key), std::move(*change.value));
    } else {
      state.erase(change.key);
    }
  }
}

void put_resource(std::vector<ResourceRecord>& resources, ResourceRecord added) {
  const auto known = std::ranges::find(resources, added.id, &ResourceRecord::id);
  if (known == resources.end()) {
    resources.push_back(std::move(added));
  } else {
    *known = std::move(added);
  }
}

}  // namespace

Async<void> MemoryStore::create(NewSession session) {
  const auto lock = enter();
  const std::string id = session.record.id;
  if (rows_.contains(id) || tombstones_.contains(id)) throw session_exists(id);
  check_links(id, {}, session.events, session.record.head.chain);
  check_tasks(id, session.tasks);
  if (opened_.contains(session.opening_key)) throw opening_key_taken(id);
  if (!session.opening_key.empty()) opened_.emplace(std::move(session.opening_key), id);
  const Row row = next_row_++;
  rows_.emplace(id, row);
  Stored& stored = sessions_[row];
  stored.record = std::move(session.record);
  stored.record.version = 1;
  for (Event& event : session.events) stored.events.insert_or_assign(event.seq, std::move(event));
  put_state(stored.state, std::move(session.state));
  by_age_.emplace(stored.record.created_at, row);
  put_tasks(stored, std::move(session.tasks));
  co_return;
}

Async<std::uint64_t> MemoryStore::commit(Commit commit) {
  const auto lock = enter();
  Stored& stored = find(commit.session_id);
  if (commit.epoch != stored.record.epoch) throw session_fenced(commit, stored.record.epoch);
  if (commit.version != stored.record.version) throw session_changed(commit, stored.record.version);
  check_links(commit.session_id, stored.record.head.chain, commit.events, commit.head.chain);
  check_tasks(commit.session_id, commit.tasks);
  stored.record.head = std::move(commit.head);
  for (Event& event : commit.events) stored.events.insert_or_assign(event.seq, std::move(event));
  put_state(stored.state, std::move(commit.state));
  put_tasks(stored, std::move(commit.tasks));
  for (ResourceRecord& added : commit.resources_added) put_resource(stored.resources, std::move(added));
  for (const std::string& id : commit.resources_released) {
    std::erase_if(stored.resources, [&](const ResourceRecord& resource) { return resource.id == id; });
  }
  for (StepRecord& step : commit.steps) stored.steps.insert_or_assign(step.number, std::move(step));
  co_return ++stored.record.version;
}

Async<Snapshot> MemoryStore::adopt(std::string session_id, std::string owner) {
  const auto lock = enter();
  Stored& stored = find(session_id);
  stored.record.owner = std::move(owner);
  ++stored.record.epoch;
  co_return snapshot_of(stored);
}

Async<std::optional<Snapshot>> MemoryStore::load(std::string session_id) {
  const auto lock = enter();
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return std::nullopt;
  co_return snapshot_of(*stored);
}

Async<std::optional<FullSession>> MemoryStore::load_all(std::string session_id, std::size_t most_bytes) {
  const auto lock = enter();
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return std::nullopt;
  FullSession full{.snapshot = snapshot_of(*stored)};
  TextBound bound(most_bytes);
  for (const auto& [place, id] : stored->tasks) {
    const TaskRecord& task = tasks_.at(id);
    full.whole = full.whole && bound.admits(task);
    if (full.whole) full.tasks.push_back(task);
  }
  for (const auto& [number, step] : stored->steps) {
    full.whole = full.whole && bound.admits(step);
    if (full.whole) full.steps.push_back(step);
  }
  for (const auto& [seq, event] : stored->events) {
    full.whole = full.whole && bound.admits(event);
    if (full.whole) full.events.push_back(event);
  }
  co_return full;
}

Async<std::optional<TaskRecord>> MemoryStore::task(std::string task_id) {
  const auto lock = enter();
  const auto place = tasks_.find(task_id);
  if (place == tasks_.end()) co_return std::nullopt;
  co_return place->second;
}

Async<std::optional<TaskRecord>> MemoryStore::task_by_key(std::string session_id, std::string idempotency_key) {
  const auto lock = enter();
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return std::nullopt;
  const auto place = stored->task_keys.find(idempotency_key);
  if (place == stored->task_keys.end()) co_return std::nullopt;
  co_return tasks_.at(place->second);
}

Async<std::string> MemoryStore::session_opened_by(std::string opening_key) {
  const auto lock = enter();
  const auto place = opened_.find(opening_key);
  co_return place == opened_.end() ? "" : place->second;
}

Async<std::vector<TaskRecord>> MemoryStore::tasks(std::string session_id, std::uint64_t from_seq, std::size_t limit) {
  const auto lock = enter();
  std::vector<TaskRecord> found;
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return found;
  for (auto place = stored->tasks.lower_bound(from_seq); place != stored->tasks.end(); ++place) {
    if (found.size() == limit) break;
    found.push_back(tasks_.at(place->second));
  }
  co_return found;
}

Async<std::vector<Event>> MemoryStore::events(std::string session_id, std::uint64_t from_seq, std::size_t limit) {
  const auto lock = enter();
  std::vector<Event> found;
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return found;
  for (auto event = stored->events.lower_bound(from_seq); event != stored->events.end(); ++event) {
    if (found.size() == limit) break;
    found.push_back(event->second);
  }
  co_return found;
}

Async<Leftovers> MemoryStore::leftovers() {
  const auto lock = enter();
  Leftovers leftovers;
  for (const auto& [row, stored] : sessions_) {
    if (stored.record.head.status == SessionStatus::active) leftovers.active_sessions.push_back(stored.record);
    Snapshot snapshot = snapshot_of(stored);
    std::ranges::move(snapshot.open_tasks, std::back_inserter(leftovers.open_tasks));
    std::ranges::move(snapshot.resources, std::back_inserter(leftovers.resources));
    if (snapshot.scheduled.empty()) continue;
    leftovers.scheduled.push_back({stored.record.id, snapshot.scheduled.front().run_at, snapshot.scheduled.size()});
  }
  co_return leftovers;
}

Async<Purgeable> MemoryStore::purgeable(SessionQuery query, std::size_t limit, std::uint64_t after) {
  const auto lock = enter();
  Purgeable found;
  for (auto place = sessions_.upper_bound(static_cast<Row>(after)); place != sessions_.end(); ++place) {
    const SessionRecord& record = place->second.record;
    if (!fits_query(record, query) || !may_be_purged(place->second)) continue;
    found.sessions.push_back({record.id, record.head.chain.seq});
    if (found.sessions.size() < limit) continue;
    found.next = place->first;
    break;
  }
  co_return found;
}

Async<std::uint64_t> MemoryStore::purge(std::vector<std::string> session_ids) {
  const auto lock = enter();
  std::uint64_t count = 0;
  for (const std::string& id : session_ids) {
    const auto row = rows_.find(id);
    if (row == rows_.end() || !may_be_purged(sessions_.at(row->second))) continue;
    const auto session = sessions_.find(row->second);
    const SessionRecord& record = session->second.record;
    tombstones_.emplace(id, Tombstone{record.head.chain, record.head.signature});
    unswept_.insert(id);
    std::erase_if(opened_, [&](const auto& opened) { return opened.second == id; });
    by_age_.erase({record.created_at, session->first});
    for (const auto& [seq, task] : session->second.tasks) tasks_.erase(task);
    sessions_.erase(session);
    rows_.erase(row);
    ++count;
  }
  co_return count;
}

bool MemoryStore::may_be_purged(const Stored& stored) const {
  return stored.record.head.status != SessionStatus::active && !owes(stored);
}

bool MemoryStore::owes(const Stored& stored) const {
  return std::ranges::any_of(stored.tasks, [this](const auto& entry) {
    const std::optional<Webhook>& webhook = tasks_.at(entry.second).webhook;
    return webhook && webhook->status < Webhook::Status::delivered;
  });
}

Async<std::vector<std::string>> MemoryStore::unswept(std::size_t limit) {
  const auto lock = enter();
  std::vector<std::string> ids(unswept_.begin(), unswept_.end());
  if (ids.size() > limit) ids.resize(limit);
  co_return ids;
}

Async<void> MemoryStore::sweep(std::string session_id) {
  const auto lock = enter();
  unswept_.erase(session_id);
  co_return;
}

Async<std::optional<Tombstone>> MemoryStore::tombstone(std::string session_id) {
  const auto lock = enter();
  const auto place = tombstones_.find(session_id);
  co_return place == tombstones_.end() ? std::nullopt : std::optional(place->second);
}

Async<OwedWebhooks> MemoryStore::webhooks_owed(Time now, std::size_t limit, std::set<std::string> busy) {
  const auto lock = enter();
  OwedWebhooks owed;
  for (const auto& [id, task] : tasks_) {
    if (!task.webhook || task.webhook->status != Webhook::Status::owed) continue;
    const Time at = task.webhook->next_at;
    if (at > now) {
      owed.next = std::min(owed.next.value_or(at), at);
    } else if (!busy.contains(task.webhook->origin)) {
      owed.due.push_back({id, *task.webhook});
    }
  }
  std::ranges::sort(owed.due, {}, [](const OwedWebhook& webhook) { return webhook.webhook.next_at; });
  if (owed.due.size() > limit) owed.due.resize(limit);
  co_return owed;
}

Async<void> MemoryStore::webhook_tried(std::string task_id, Webhook webhook) {
  const auto lock = enter();
  const auto place = tasks_.find(task_id);
  if (place != tasks_.end() && place->second.webhook) place->second.webhook = std::move(webhook);
  co_return;
}

Async<std::size_t> MemoryStore::open_webhooks(std::size_t most) {
  const auto lock = enter();
  const auto count = std::ranges::count_if(tasks_, [](const auto& entry) {
    return entry.second.webhook && entry.second.webhook->status < Webhook::Status::delivered;
  });
  co_return std::min(most, static_cast<std::size_t>(count));
}

Async<void> MemoryStore::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  co_return;
}

std::unique_lock<std::mutex> MemoryStore::enter() {
  std::unique_lock lock(mutex_);
  if (closed_) throw store_closed();
  return lock;
}

MemoryStore::Stored* MemoryStore::find_or_null(const std::string& session_id) {
  const auto place = rows_.find(session_id);
  return place == rows_.end() ? nullptr : &sessions_.at(place->second);
}

MemoryStore::Stored& MemoryStore::find(const std::string& session_id) {
  Stored* stored = find_or_null(session_id);
  if (stored == nullptr) throw session_unknown(session_id);
  return *stored;
}

Snapshot MemoryStore::snapshot_of(const Stored& stored) const {
  Snapshot snapshot{.record = stored.record, .state = stored.state, .resources = stored.resources};
  if (!stored.tasks.empty()) snapshot.last_task_seq = stored.tasks.rbegin()->first;
  std::multimap<Time, const TaskRecord*> scheduled;
  for (const auto& [seq, id] : stored.tasks) {
    const TaskRecord& task = tasks_.at(id);
    if (is_scheduled(task)) {
      scheduled.emplace(*task.run_at, &task);
    } else if (!is_final(task.status)) {
      snapshot.open_tasks.push_back(task);
    }
  }
  for (const auto& [run_at, task] : scheduled) snapshot.scheduled.push_back({task->id, run_at});
  return snapshot;
}

void MemoryStore::check_tasks(const std::string& session_id, const std::vector<TaskRecord>& tasks) const {
  std::map<std::string, std::string> keys;  // of these tasks, to the one that has it
  const auto row = rows_.find(session_id);
  for (const TaskRecord& task : tasks) {
    const auto known = tasks_.find(task.id);
    if (known != tasks_.end() && known->second.session_id != session_id) throw task_elsewhere(task);
    if (task.idempotency_key.empty()) continue;
    if (keys.emplace(task.idempotency_key, task.id).first->second != task.id) throw key_taken(task);
    if (row == rows_.end()) continue;
    const auto& taken = sessions_.at(row->second).task_keys;
    if (const auto owner = taken.find(task.idempotency_key); owner != taken.end() && owner->second != task.id) {
      throw key_taken(task);
    }
  }
}

void MemoryStore::put_tasks(Stored& stored, std::vector<TaskRecord> tasks) {
  for (TaskRecord& task : tasks) {
    const auto known = tasks_.find(task.id);
    if (known == tasks_.end()) {
      stored.tasks.emplace(task.seq, task.id);
    } else {
      if (known->second.seq != task.seq) {
        const auto [first, last] = stored.tasks.equal_range(known->second.seq);
        stored.tasks.erase(
            std::find(first, last, std::pair<const std::uint64_t, std::string>(first->first, task.id)));
        stored.tasks.emplace(task.seq, task.id);
      }
      stored.task_keys.erase(known->second.idempotency_key);
      if (known->second.webhook) task.webhook = known->second.webhook;
    }
    if (is_final(task.status) && task.webhook && task.webhook->status == Webhook::Status::waiting) {
      task.webhook->status = Webhook::Status::owed;
      task.webhook->next_at = task.updated_at;
    }
    if (!task.idempotency_key.empty()) stored.task_keys.insert_or_assign(task.idempotency_key, task.id);
    tasks_.insert_or_assign(task.id, std::move(task));
  }
}

}  // namespace sojourn::store
