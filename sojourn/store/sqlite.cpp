#include "sojourn/store/sqlite.hpp"

#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "sojourn/base/error.hpp"
#include "sojourn/store/layered_vfs.hpp"
#include "sojourn/store/paced_file.hpp"

namespace sojourn::store {

namespace {

ErrorCode code_of(int result, int system_error) {
  if (system_error == ENOSPC || system_error == EDQUOT) return ErrorCode::store_full;
  if (system_error == EMFILE || system_error == ENFILE) return ErrorCode::unavailable;
  switch (result & 0xFF) {
    case SQLITE_FULL:
      return ErrorCode::store_full;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return ErrorCode::store_read_only;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::store_locked;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::store_corrupt;
    case SQLITE_CONSTRAINT:
      return ErrorCode::already_exists;
    case SQLITE_TOOBIG:
      return ErrorCode::too_large;
    case SQLITE_CANTOPEN:
      return system_error == EACCES || system_error == EROFS ? ErrorCode::store_read_only : ErrorCode::io_error;
    case SQLITE_IOERR:
      return result == SQLITE_IOERR_NOMEM ? ErrorCode::unavailable : ErrorCode::io_error;
    case SQLITE_NOMEM:
      return ErrorCode::unavailable;
    default:
      return ErrorCode::internal_error;
  }
}

// `file` is the database's, of which SQLite knows nothing where it could not open it.
[[noreturn]] void fail(sqlite3* database, int result, std::string_view file) {
  const int system_error = sqlite3_system_errno(database);
  std::string message = fmt::format("'{}': {}", file, sqlite3_errmsg(database));
  // SQLite keeps the errno of the last failure, which says nothing of a failure that is no input or output.
  const int kind = result & 0xFF;
  const bool system = (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN || kind == SQLITE_FULL) && system_error != 0;
  if (system) message += fmt::format(" ({})", std::generic_category().message(system_error));
  throw Error(code_of(result, system ? system_error : 0), std::move(message), {{"sqlite", result}});
}

// Once in a process, before anything else of SQLite. Counting each allocation takes a lock, and nobody reads the
// sums.
void configure() {
  [[maybe_unused]] static const int done = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

[[noreturn]] void fail(sqlite3* database, int result) {
  const char* file = sqlite3_db_filename(database, "main");
  fail(database, result, file == nullptr ? "" : file);
}

std::string immutable_uri(std::string_view path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

Statement::~Statement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  // Bound texts die now; a statement that is run with too few values must not find them.
  if (bound_ > 0) sqlite3_clear_bindings(statement_);
}

void Statement::bind_integer(std::int64_t value) {
  sqlite3_bind_int64(statement_, ++bound_, value);
}

void Statement::bind_text(std::string_view value) {
  const char* text = value.data() == nullptr ? "" : value.data();
  const int result = sqlite3_bind_text64(statement_, ++bound_, text, value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (result != SQLITE_OK) fail(sqlite3_db_handle(statement_), result);
}

void Statement::bind_blob(std::string_view value) {
  sqlite3_bind_blob64(statement_, ++bound_, value.data(), value.size(), SQLITE_STATIC);
}

void Statement::bind_null() {
  sqlite3_bind_null(statement_, ++bound_);
}

bool Statement::next() {
  column_ = 0;
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result != SQLITE_DONE) fail(sqlite3_db_handle(statement_), result);
  return false;
}

std::int64_t Statement::take_integer() {
  return sqlite3_column_int64(statement_, column_++);
}

std::string_view Statement::take_bytes() {
  const int column = column_++;
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

void Statement::take_hash(Hash& hash) {
  // A hash of another length was altered: it stays zero, which no event's hash is.
  const std::string_view bytes = take_bytes();
  hash = {};
  if (bytes.size() == hash.size()) std::memcpy(hash.data(), bytes.data(), bytes.size());
}

bool Statement::next_is_null() const {
  return sqlite3_column_type(statement_, column_) == SQLITE_NULL;
}

void Connection::Close::operator()(sqlite3* database) const {
  [[maybe_unused]] const int result = sqlite3_close(database);
  assert(result == SQLITE_OK);
}

void Connection::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Connection::Connection(const std::filesystem::path& file, OpenMode mode) {
  configure();
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= mode == OpenMode::read_write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  std::string name = file.string();
  if (mode == OpenMode::immutable) {
    flags |= SQLITE_OPEN_URI;
    name = immutable_uri(name);
  }
  sqlite3* database = nullptr;
  const int result = sqlite3_open_v2(name.c_str(), &database, flags, layered_vfs());
  database_.reset(database);
  if (result != SQLITE_OK) fail(database, result, file.string());
  sqlite3_busy_timeout(database, 5'000);
}

Connection::~Connection() = default;

void Connection::run(const std::string& sql) {
  const int result = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) fail(database_.get(), result);
}

Statement Connection::start(std::string_view sql) {
  auto place = statements_.find(sql);
  if (place == statements_.end()) {
    sqlite3_stmt* statement = nullptr;
    const int result = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                          SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (result != SQLITE_OK) fail(database_.get(), result);
    place = statements_.emplace(std::string(sql), statement).first;
  }
  assert(!sqlite3_stmt_busy(place->second.get()));
  return Statement(place->second.get());
}

bool Connection::in_transaction() const {
  return sqlite3_get_autocommit(database_.get()) == 0;
}

void Connection::roll_back() noexcept {
  if (in_transaction()) sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

std::int64_t Connection::log_pages() {
  if (log_pages_ == nullptr) {
    log_pages_ = std::make_unique<std::int64_t>(0);
    const auto note = [](void* pages, sqlite3*, const char*, int count) {
      *static_cast<std::int64_t*>(pages) = count;
      return SQLITE_OK;
    };
    sqlite3_wal_hook(database_.get(), note, log_pages_.get());
  }
  return *log_pages_;
}

std::int64_t Connection::checkpoint() noexcept {
  // A connection that has read nothing does not know of the log yet, and would fold nothing.
  sqlite3_exec(database_.get(), "PRAGMA schema_version", nullptr, nullptr, nullptr);
  int pages = 0;
  int folded = 0;
  const int result = sqlite3_wal_checkpoint_v2(database_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, &pages, &folded);
  return result == SQLITE_OK ? std::max(folded, 0) : 0;
}

bool Connection::has_moved() const {
  int moved = 0;
  return sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

bool Connection::sync_has_failed() const {
  return store::sync_has_failed(sqlite3_db_filename(database_.get(), "main"));
}

std::int64_t Connection::total_changes() const {
  return sqlite3_total_changes64(database_.get());
}

std::int64_t Connection::changes() const {
  return sqlite3_changes64(database_.get());
}

ReadTransaction::ReadTransaction(Connection& connection) : connection_(connection) {
  connection_.execute("BEGIN");
}

ReadTransaction::~ReadTransaction() {
  connection_.roll_back();
}

}  // namespace sojourn::store
