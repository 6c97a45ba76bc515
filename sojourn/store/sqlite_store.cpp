#include "sojourn/store/sqlite_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/store/checkpoints.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/folder_lock.hpp"
#include "sojourn/store/reader_connections.hpp"
#include "sojourn/store/refusals.hpp"
#include "sojourn/store/sqlite_lists.hpp"
#include "sojourn/store/sqlite_reads.hpp"
#include "sojourn/store/sqlite_schema.hpp"
#include "sojourn/store/sqlite_writes.hpp"

namespace sojourn::store {

namespace {

// So that commits need not wait long for a purge.
constexpr std::int64_t swept_at_once = 1'000;
constexpr std::uint64_t page_bytes = 4'096;
constexpr std::uint64_t log_frame_bytes = page_bytes + 24;

// FULL: the log is synced at each commit.
constexpr const char* writer_pragmas =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
    "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY";

void make_folder(const std::filesystem::path& folder) {
  make_folders(folder);
  try {
    // Its maker may have died before it synced.
    sync_folder(std::filesystem::canonical(folder).parent_path());
  } catch (const Error& error) {
    // Whoever may not read the folder above did not make this one in it.
    if (error.code() != ErrorCode::store_read_only) throw;
  }
}

// What only a store that writes has. The connection is closed before the folder is another's.
struct Writer {
  Writer(const SqliteOptions& options, const std::filesystem::path& file) : lock(options.folder) {
    // SQLite, where it cannot make the file, tries to read it, and then says only that it is not there.
    make_file(file);
    connection.emplace(file, OpenMode::read_write);
    connection->run(writer_pragmas);
    if (options.max_bytes > 0) {
      connection->run(
          fmt::format("PRAGMA max_page_count = {}", std::max<std::uint64_t>(1, options.max_bytes / page_bytes)));
    }
    migrate(*connection, migrations(), file);
    // SQLite syncs the folder too when it makes a log, but does not look at what comes of it (os_unix.c, unixSync).
    sync_folder(options.folder);
    if (options.lays_out_log) lay_out(file.string() + "-wal", options.log_pages * log_frame_bytes);
    writes.emplace(*connection);
    checkpoints.emplace(*connection, file, options.log_pages, options.sync_failed);
    commits.emplace(*connection, WriterHooks{.check = [this, file] { check_in_place(file); },
                                             .rolled_back = [this] { writes->rolled_back(); },
                                             .answered = [this] { checkpoints->after_commit(); },
                                             .refused = options.refused});
  }

  void check_in_place(const std::filesystem::path& file) {
    if (connection->has_moved()) throw store_lost(file);
  }

  void close() {
    commits->close();
    checkpoints.reset();
    connection.reset();
  }

  FolderLock lock;
  std::optional<Connection> connection;
  std::optional<SqliteWrites> writes;
  std::optional<Checkpoints> checkpoints;
  std::optional<CommitWriter> commits;
};

std::unique_ptr<Writer> open_writer(const SqliteOptions& options, const std::filesystem::path& file) {
  if (options.mode != OpenMode::read_write) return nullptr;
  make_folder(options.folder);
  return std::make_unique<Writer>(options, file);
}

std::vector<Connection> connect_readers(const SqliteOptions& options, const std::filesystem::path& file,
                                        OpenMode mode) {
  std::vector<Connection> connections;
  for (unsigned i = 0; i < std::max(1u, options.readers); ++i) {
    connections.emplace_back(file, mode);
    connections.back().run("PRAGMA temp_store = MEMORY");
    // Each reads something at once, so that it has its descriptors before clients take them.
    check_schema(connections.back(), file);
  }
  return connections;
}

std::vector<Connection> open_readers(const SqliteOptions& options, const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) {
    throw Error(ErrorCode::not_found,
                fmt::format("'{}' holds no store: there is no sojourn.db", options.folder.string()));
  }
  if (options.mode == OpenMode::immutable) return connect_readers(options, file, options.mode);
  try {
    return connect_readers(options, file, OpenMode::read_only);
  } catch (const Error& error) {
    // Readers share a small file beside the database, which cannot be made here; on a read-only file system SQLite
    // only says that it is not there. Without a log nobody writes either.
    const bool unwritable = (error.code() == ErrorCode::store_read_only || error.code() == ErrorCode::io_error) &&
                            options.mode == OpenMode::read_only;
    if (!unwritable || std::filesystem::exists(file.string() + "-wal")) throw;
    return connect_readers(options, file, OpenMode::immutable);
  }
}

}  // namespace

struct SqliteStore::Parts {
  explicit Parts(const SqliteOptions& options)
      : file(options.folder / "sojourn.db"),
        writer(open_writer(options, file)),
        readers(open_readers(options, file)),
        pool(std::max(1u, options.readers)) {}

  // The writer's connection goes last, for the last one to close tidies the log away.
  void close() {
    const std::lock_guard lock(closing);
    readers.close();
    if (writer) writer->close();
  }

  void require_writer() const {
    if (writer) return;
    throw Error(ErrorCode::store_read_only, fmt::format("'{}' was opened to be read only", file.string()));
  }

  template <class F>
  auto write(F change) {
    require_writer();
    return writer->commits->run(std::move(change));
  }

  template <class F>
  auto read(F read) {
    return pool.run([this, read] { return readers.run(read); });
  }

  std::filesystem::path file;
  std::unique_ptr<Writer> writer;  // null in a store that is read only
  ReaderConnections readers;
  BlockingPool pool;
  std::mutex closing;
};

std::unique_ptr<SqliteStore> SqliteStore::open(SqliteOptions options) {
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::make_unique<Parts>(options)));
}

SqliteStore::SqliteStore(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

SqliteStore::~SqliteStore() {
  parts_->close();
}

Async<void> SqliteStore::check_in_place() {
  co_await parts_->read([&](Connection& connection) {
    if (connection.has_moved()) throw store_lost(parts_->file);
  });
}

Async<void> SqliteStore::create(NewSession session) {
  co_await parts_->write([&] { parts_->writer->writes->create(session); });
}

Async<std::uint64_t> SqliteStore::commit(Commit commit) {
  co_return co_await parts_->write([&] { return parts_->writer->writes->commit(commit); });
}

Async<Snapshot> SqliteStore::adopt(std::string session_id, std::string owner) {
  co_return co_await parts_->write([&] { return parts_->writer->writes->adopt(session_id, owner); });
}

Async<std::optional<Snapshot>> SqliteStore::load(std::string session_id) {
  co_return co_await parts_->read([&](Connection& connection) -> std::optional<Snapshot> {
    std::optional<StoredSession> session = read_session(connection, session_id);
    if (!session) return std::nullopt;
    return read_snapshot(connection, std::move(*session));
  });
}

Async<std::optional<FullSession>> SqliteStore::load_all(std::string session_id, std::size_t most_bytes) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_full_session(connection, session_id, most_bytes); });
}

Async<std::optional<TaskRecord>> SqliteStore::task(std::string task_id) {
  co_return co_await parts_->read([&](Connection& connection) { return read_task(connection, task_id); });
}

Async<std::optional<TaskRecord>> SqliteStore::task_by_key(std::string session_id, std::string idempotency_key) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_task_by_key(connection, session_id, idempotency_key); });
}

Async<std::string> SqliteStore::session_opened_by(std::string opening_key) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_session_opened_by(connection, opening_key); });
}

Async<std::vector<TaskRecord>> SqliteStore::tasks(std::string session_id, std::uint64_t from_seq, std::size_t limit) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_tasks(connection, session_id, from_seq, limit); });
}

Async<std::vector<Event>> SqliteStore::events(std::string session_id, std::uint64_t from_seq, std::size_t limit) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_events(connection, session_id, from_seq, limit); });
}

Async<SessionPage> SqliteStore::list(SessionQuery query, std::string cursor, std::size_t limit) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_page(connection, query, cursor, limit); });
}

Async<std::uint64_t> SqliteStore::count(SessionQuery query) {
  co_return co_await parts_->read([&](Connection& connection) { return read_count(connection, query); });
}

Async<std::optional<std::string>> SqliteStore::cursor_after(SessionQuery query, std::uint64_t count) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_cursor_after(connection, query, count); });
}

Async<std::vector<StepRecord>> SqliteStore::steps(std::string session_id, std::uint64_t from_number,
                                                  std::size_t limit) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_steps(connection, session_id, from_number, limit); });
}

Async<std::vector<StepRecord>> SqliteStore::latest_attempts(std::string session_id, std::vector<std::string> names) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_latest_attempts(connection, session_id, names); });
}

Async<StepSummary> SqliteStore::step_summary(std::string session_id) {
  co_return co_await parts_->read([&](Connection& connection) { return read_step_summary(connection, session_id); });
}

Async<Leftovers> SqliteStore::leftovers() {
  co_return co_await parts_->read([](Connection& connection) { return read_leftovers(connection); });
}

Async<Purgeable> SqliteStore::purgeable(SessionQuery query, std::size_t limit, std::uint64_t after) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_purgeable(connection, query, limit, after); });
}

Async<std::uint64_t> SqliteStore::purge(std::vector<std::string> session_ids) {
  parts_->require_writer();
  if (session_ids.empty()) co_return 0;
  co_return co_await parts_->write([&] { return parts_->writer->writes->purge(session_ids); });
}

Async<std::vector<std::string>> SqliteStore::unswept(std::size_t limit) {
  co_return co_await parts_->read([&](Connection& connection) { return read_unswept(connection, limit); });
}

Async<void> SqliteStore::sweep(std::string session_id) {
  while (co_await parts_->write([&] { return parts_->writer->writes->sweep(session_id, swept_at_once); })) {
  }
}

Async<std::optional<Tombstone>> SqliteStore::tombstone(std::string session_id) {
  co_return co_await parts_->read([&](Connection& connection) { return read_tombstone(connection, session_id); });
}

Async<std::uint64_t> SqliteStore::bytes_used() {
  co_return co_await parts_->read([](Connection& connection) {
    const auto pages = connection.query("PRAGMA page_count").one<std::uint64_t>();
    return (pages - connection.query("PRAGMA freelist_count").one<std::uint64_t>()) * page_bytes;
  });
}

Async<void> SqliteStore::close() {
  co_await parts_->pool.run([this] { parts_->close(); });
}

Async<OwedWebhooks> SqliteStore::webhooks_owed(Time now, std::size_t limit, std::set<std::string> busy) {
  co_return co_await parts_->read(
      [&](Connection& connection) { return read_webhooks_owed(connection, now, limit, busy); });
}

Async<void> SqliteStore::webhook_tried(std::string task_id, Webhook webhook) {
  co_await parts_->write([&] { parts_->writer->writes->webhook_tried(task_id, webhook); });
}

Async<std::size_t> SqliteStore::open_webhooks(std::size_t most) {
  co_return co_await parts_->read([&](Connection& connection) { return count_open_webhooks(connection, most); });
}

WriterStatistics SqliteStore::statistics() const {
  return parts_->writer ? parts_->writer->commits->statistics() : WriterStatistics{};
}

}  // namespace sojourn::store
