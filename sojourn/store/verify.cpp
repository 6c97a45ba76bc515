#include "sojourn/store/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <optional>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/artifact_folder.hpp"
#include "sojourn/store/artifact_path.hpp"
#include "sojourn/store/journal_verifier.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

// Bounds what is in memory at once, as an event has up to 256 KiB and a task's output up to 8 MiB. A session with
// less text is read in one go.
constexpr std::size_t bytes_at_once = limits::mebibyte;
constexpr std::size_t events_at_once = 256;
constexpr std::size_t steps_at_once = 256;
constexpr std::size_t sessions_at_once = 4;
constexpr std::size_t large_tasks_at_once = 8;
constexpr std::size_t small_tasks_at_once = 64;
constexpr std::size_t small_task_bytes = 64 * limits::kibibyte;

const PublicKeys& keys_of(const VerifyAgainst& against) {
  static const PublicKeys none;
  return against.keys == nullptr ? none : *against.keys;
}

Async<std::vector<TaskNote>> read_tasks(Store& store, std::string session_id) {
  std::vector<TaskNote> notes;
  std::size_t at_once = large_tasks_at_once;
  for (std::uint64_t from = 0;;) {
    const std::vector<TaskRecord> tasks = co_await store.tasks(session_id, from, at_once);
    const std::size_t asked = at_once;
    at_once = small_tasks_at_once;
    for (const TaskRecord& task : tasks) {
      if (task.input.size() + task.output.size() > small_task_bytes) at_once = large_tasks_at_once;
      notes.emplace_back(task);
    }
    if (tasks.size() < asked) co_return notes;
    from = tasks.back().seq + 1;
  }
}

// Checks the events up to `newest`, in pages.
Async<void> walk_events(Store& store, JournalVerifier& verifier, std::string session_id, std::uint64_t newest) {
  for (std::uint64_t from = 1; from <= newest;) {
    const std::vector<Event> events = co_await store.events(session_id, from, events_at_once);
    for (const Event& event : events) {
      if (event.seq > newest) co_return;
      verifier.check_event(event);
    }
    if (events.size() < events_at_once) co_return;
    from = events.back().seq + 1;
  }
}

// Calls whose rows were not there yet, or not over, when the tasks were read.
Async<void> check_later_tasks(Store& store, JournalVerifier& verifier, std::string session_id) {
  const std::vector<std::string> rest = verifier.other_calls().rest();
  for (const std::string& id : rest) {
    const std::optional<TaskRecord> task = co_await store.task(id);
    if (task && task->session_id == session_id) verifier.check_task(TaskNote(*task), true);
  }
  verifier.add_missing_tasks();
}

// They are read after the events, and may know of newer ones.
Async<void> check_steps(Store& store, JournalVerifier& verifier, std::string session_id) {
  std::vector<StepRecord> steps;
  for (std::uint64_t from = 1;;) {
    std::vector<StepRecord> page = co_await store.steps(session_id, from, steps_at_once);
    const bool more = page.size() == steps_at_once;
    if (more) from = page.back().number + 1;
    std::ranges::move(page, std::back_inserter(steps));
    if (!more) break;
  }
  const std::optional<Snapshot> now = co_await store.load(session_id);
  for (const StepRecord& step : steps) verifier.check_step(step, now ? now->record.head.chain.seq : 0);
  verifier.add_missing_steps();
}

// What is left of a session that was purged.
Async<VerifyReport> verify_tombstone(Store& store, std::string session_id, VerifyAgainst against) {
  const std::optional<Tombstone> tombstone = co_await store.tombstone(session_id);
  if (!tombstone) throw session_unknown(session_id);
  JournalVerifier verifier(session_id);
  SessionHead head{.status = SessionStatus::ended, .chain = tombstone->chain, .signature = tombstone->signature};
  verifier.check_signature(head, keys_of(against));
  VerifyReport report = verifier.take();
  report.events = tombstone->chain.seq;
  report.purged = true;
  co_return report;
}

// Takes the next session that nobody has taken, until none is left.
Async<void> verify_next(Store& store, const std::vector<std::string>& ids, VerifyAgainst against, std::size_t& next,
                        std::vector<std::optional<VerifyReport>>& reports) {
  while (next < ids.size()) {
    const std::size_t number = next++;
    try {
      reports[number] = co_await verify(store, ids[number], against);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::session_not_found) throw;
    }
  }
}

// Artefacts, and their newest attempts in the session's folder.
void check_artifacts(JournalVerifier& verifier, const std::string& session_id, const VerifyAgainst& against) {
  if (against.artifacts == nullptr || !is_session_id(session_id)) return;
  verifier.check_contents([&](const std::string& hash) { return against.artifacts->hash(session_id, hash); });
  if (against.folders == nullptr) return;
  const std::filesystem::path folder = against.folders->path_of(session_id);
  for (const Artifact& artifact : verifier.newest_artifacts()) {
    if (hash_of_placed(folder, split_artifact_path(artifact.path)) == artifact.sha256) continue;
    verifier.add(
        {Finding::Kind::artifact, artifact.seq, "", "",
         fmt::format("'{}' in the session's folder is not what event {} recorded", artifact.path, artifact.seq)});
  }
}

VerifyReport verify(const FullSession& session, VerifyAgainst against, const FolderNote& folder) {
  const SessionRecord& record = session.snapshot.record;
  JournalVerifier verifier(record.id);
  verifier.expect(folder);
  const ChainHead& head = record.head.chain;
  const auto surplus = std::ranges::find_if(session.events, [&](const Event& event) { return event.seq > head.seq; });
  std::for_each(session.events.begin(), surplus, [&](const Event& event) { verifier.check_event(event); });
  verifier.check_head(head);
  verifier.check_record(record, keys_of(against));
  if (surplus != session.events.end()) verifier.add_surplus(*surplus);
  verifier.check_state(session.snapshot.state);
  for (const TaskRecord& task : session.tasks) verifier.check_task(TaskNote(task));
  verifier.add_missing_tasks();
  for (const StepRecord& step : session.steps) verifier.check_step(step, head.seq);
  verifier.add_missing_steps();
  check_artifacts(verifier, record.id, against);
  return verifier.take();
}

Async<VerifyReport> verify_in_parts(Store& store, std::string session_id, VerifyAgainst against, FolderNote folder) {
  JournalVerifier verifier(session_id);
  verifier.expect(folder);
  // In this order, so that of a session that goes on meanwhile nothing is read that is newer than its events below.
  const std::vector<TaskNote> tasks = co_await read_tasks(store, session_id);
  const std::optional<Snapshot> snapshot = co_await store.load(session_id);
  if (!snapshot) throw session_unknown(session_id);
  const ChainHead head = snapshot->record.head.chain;

  co_await walk_events(store, verifier, session_id, head.seq);
  verifier.check_head(head);
  verifier.check_record(snapshot->record, keys_of(against));
  const std::vector<Event> surplus = co_await store.events(session_id, head.seq + 1, 1);
  if (!surplus.empty()) {
    const std::optional<Snapshot> now = co_await store.load(session_id);
    if (now && now->record.head.chain.seq < surplus.front().seq) verifier.add_surplus(surplus.front());
  }
  verifier.check_state(snapshot->state);
  for (const TaskNote& task : tasks) {
    if (is_final(task.status) || !verifier.other_calls().status_of(task.id)) verifier.check_task(task);
  }
  co_await check_later_tasks(store, verifier, session_id);
  co_await check_steps(store, verifier, session_id);
  check_artifacts(verifier, session_id, against);
  co_return verifier.take();
}

}  // namespace

Async<VerifyReport> verify(Store& store, std::string session_id, VerifyAgainst against) {
  // Before the store, which then knows all that the folder does.
  FolderNote folder;
  if (against.folders != nullptr) folder = read_folder(*against.folders, session_id);
  const std::optional<FullSession> session = co_await store.load_all(session_id, bytes_at_once);
  if (!session) co_return co_await verify_tombstone(store, session_id, against);
  if (session->whole) co_return verify(*session, against, folder);
  co_return co_await verify_in_parts(store, session_id, against, std::move(folder));
}

Async<std::vector<VerifyReport>> verify(Store& store, std::vector<std::string> session_ids, VerifyAgainst against) {
  std::size_t next = 0;
  std::vector<std::optional<VerifyReport>> reports(session_ids.size());
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (std::size_t i = 0; i < sessions_at_once; ++i) {
    group.spawn(verify_next(store, session_ids, against, next, reports));
  }
  co_await group.join();
  std::vector<VerifyReport> found;
  for (std::optional<VerifyReport>& report : reports) {
    if (report) found.push_back(std::move(*report));
  }
  co_return found;
}

}  // namespace sojourn::store
