#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sojourn/store/commit_writer.hpp"
#include "sojourn/store/outbox.hpp"
#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/store.hpp"

// The store of one machine: a SQLite database in the data folder (docs/formats/store.md).
//
// One thread writes, by group commit. Readers have connections and threads of their own and are never held up by it.
namespace sojourn::store {

struct SqliteOptions {
  std::filesystem::path folder;          // made by a writer where it is missing
  OpenMode mode = OpenMode::read_write;  // read_only works beside a server that writes, and where nobody does
  unsigned readers = 2;                  // threads, with a connection each
  std::uint64_t log_pages = 8'000;       // past them the log is folded into the database
  bool lays_out_log = false;    // at its opening, in some 30 ms: the first commits are synced in half the time
  std::uint64_t max_bytes = 0;  // of the database file; commits past it are store_full. 0: no bound
  // Called once, by a thread of the store's, when the disk has refused to sync the database. Nothing is lost: the log
  // holds it all, is kept, and grows until the store is opened again.
  std::function<void()> sync_failed = {};
  // Called by a thread of the store's after each transaction in which a change was refused through no fault of its
  // own: the disk is full, cannot be written or fails, the database's file was removed or replaced, another program
  // holds or damaged it, no memory is left.
  std::function<void(const Error& why)> refused = {};
};

class SqliteStore final : public Store, public Outbox {
 public:
  // Opens the store, and brings an older schema up to date. Blocks: call it before anything is served.
  // Errors: store_locked when another writer has the folder; store_read_only for a folder that cannot be
  //         written, or with read_only for an older schema; store_newer; store_corrupt for a file that is no
  //         store; not_found with read_only when there is none; store_full; io_error.
  static std::unique_ptr<SqliteStore> open(SqliteOptions options);
  ~SqliteStore() override;

  Async<void> create(NewSession session) override;
  Async<std::uint64_t> commit(Commit commit) override;
  Async<Snapshot> adopt(std::string session_id, std::string owner) override;
  Async<std::optional<Snapshot>> load(std::string session_id) override;
  Async<std::optional<FullSession>> load_all(std::string session_id, std::size_t most_bytes) override;
  Async<std::optional<TaskRecord>> task(std::string task_id) override;
  Async<std::optional<TaskRecord>> task_by_key(std::string session_id, std::string idempotency_key) override;
  Async<std::string> session_opened_by(std::string opening_key) override;
  Async<std::vector<TaskRecord>> tasks(std::string session_id, std::uint64_t from_seq, std::size_t limit) override;
  Async<std::vector<Event>> events(std::string session_id, std::uint64_t from_seq, std::size_t limit) override;
  Async<SessionPage> list(SessionQuery query, std::string cursor, std::size_t limit) override;
  Async<std::uint64_t> count(SessionQuery query) override;
  Async<std::optional<std::string>> cursor_after(SessionQuery query, std::uint64_t count) override;
  Async<std::vector<StepRecord>> steps(std::string session_id, std::uint64_t from_number, std::size_t limit) override;
  Async<std::vector<StepRecord>> latest_attempts(std::string session_id, std::vector<std::string> names) override;
  Async<StepSummary> step_summary(std::string session_id) override;
  Async<Leftovers> leftovers() override;
  Async<Purgeable> purgeable(SessionQuery query, std::size_t limit, std::uint64_t after) override;
  Async<std::uint64_t> purge(std::vector<std::string> session_ids) override;
  Async<std::vector<std::string>> unswept(std::size_t limit) override;
  Async<void> sweep(std::string session_id) override;
  Async<std::optional<Tombstone>> tombstone(std::string session_id) override;
  Async<void> close() override;

  // That its file is where it was when it was opened; changes are refused where it is not, and reads go on.
  // Errors: store_read_only.
  Async<void> check_in_place();

  // What the database takes up, without the pages of its file that are free.
  Async<std::uint64_t> bytes_used();

  Async<OwedWebhooks> webhooks_owed(Time now, std::size_t limit, std::set<std::string> busy) override;
  Async<void> webhook_tried(std::string task_id, Webhook webhook) override;
  Async<std::size_t> open_webhooks(std::size_t most) override;

  // Threads: safe.
  WriterStatistics statistics() const;

 private:
  struct Parts;

  explicit SqliteStore(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sojourn::store
