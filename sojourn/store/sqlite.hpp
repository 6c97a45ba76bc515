#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/sha256.hpp"

struct sqlite3;
struct sqlite3_stmt;

// A thin skin over SQLite: connections, statements that are prepared once, values in and out by their C++ types.
namespace sojourn::store {

// immutable is read_only without looking for a writer, of whom there must be none: it works where no file can be
// made.
enum class OpenMode { read_write, read_only, immutable };

// One run of a prepared statement. Values go in by bind(), in order; rows come out by next() and read().
// Lifetime: the connection's; one at a time for the same SQL text. What is bound must outlive it: nothing is copied.
// Errors: of all that touches the database: store_full, store_read_only, store_corrupt, store_locked, io_error;
//         already_exists for a broken unique constraint.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement(Statement&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)), bound_(other.bound_), column_(other.column_) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  template <class T>
  void bind(const T& value) {
    if constexpr (std::is_same_v<T, Hash>) {
      bind_blob({reinterpret_cast<const char*>(value.data()), value.size()});
    } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
      bind_text(value);
    } else {
      bind_integer(as_integer(value));
    }
  }
  template <class T>
  void bind(const std::optional<T>& value) {
    if (value) {
      bind(*value);
    } else {
      bind_null();
    }
  }

  // Goes to the next row, if there is one.
  bool next();

  // Reads columns of the row, from left to right, where the last read() stopped.
  template <class... T>
  void read(T&... values) {
    (take(values), ...);
  }
  template <class T>
  T value() {
    T taken{};
    take(taken);
    return taken;
  }

  // The first value of the only row.
  template <class T>
  T one() {
    next();
    return value<T>();
  }

 private:
  static std::int64_t as_integer(Time time) { return time.time_since_epoch().count(); }
  static std::int64_t as_integer(Seconds seconds) { return seconds.count(); }
  static std::int64_t as_integer(Microseconds time) { return time.count(); }
  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  static std::int64_t as_integer(T value) {
    return static_cast<std::int64_t>(value);
  }

  template <class T>
  void take(T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      value = take_bytes();
    } else if constexpr (std::is_same_v<T, Hash>) {
      take_hash(value);
    } else if constexpr (std::is_same_v<T, Time>) {
      value = Time(Microseconds(take_integer()));
    } else if constexpr (std::is_same_v<T, Seconds> || std::is_same_v<T, Microseconds>) {
      value = T(take_integer());
    } else {
      value = static_cast<T>(take_integer());
    }
  }
  template <class T>
  void take(std::optional<T>& value) {
    if (next_is_null()) {
      value.reset();
      ++column_;
    } else {
      take(value.emplace());
    }
  }

  void bind_integer(std::int64_t value);
  void bind_text(std::string_view value);
  void bind_blob(std::string_view value);
  void bind_null();
  std::int64_t take_integer();
  std::string_view take_bytes();
  void take_hash(Hash& hash);
  bool next_is_null() const;

  sqlite3_stmt* statement_;
  int bound_ = 0;
  int column_ = 0;
};

// Threads: one at a time.
class Connection {
 public:
  // Opens the database at `file`; read_write creates it.
  // Errors: store_read_only, io_error; what else is wrong shows when it is first used.
  Connection(const std::filesystem::path& file, OpenMode mode);
  ~Connection();
  Connection(Connection&&) noexcept = default;

  // Runs SQL text that holds any number of statements and no values.
  void run(const std::string& sql);

  // The statement, prepared at its first use. Cost: a hash of its text later.
  template <class... T>
  Statement query(std::string_view sql, const T&... values) {
    Statement statement = start(sql);
    (statement.bind(values), ...);
    return statement;
  }

  // Runs a statement that gives no rows.
  template <class... T>
  void execute(std::string_view sql, const T&... values) {
    query(sql, values...).next();
  }

  bool in_transaction() const;

  // Ends the open transaction, if there is one, and applies nothing of it. Where SQLite cannot even do that it has
  // ended the transaction itself, and the next statement says what is wrong with the database.
  void roll_back() noexcept;

  // Pages in the log after the connection's last commit. Asked for once, the log is folded into the database by
  // checkpoint() alone.
  std::int64_t log_pages();

  // Folds into the database what of the log nobody reads any more, without waiting for anybody. Returns how many of
  // its pages are folded now; 0 also when that failed, which harms nothing.
  std::int64_t checkpoint() noexcept;

  // Whether a sync of the database failed, by any connection: its log is folded no more (paced_file.hpp).
  bool sync_has_failed() const;

  // Whether another file, or none, is where the database's was when it was opened: what is written to it then is lost
  // with it. Cost: a stat.
  bool has_moved() const;

  // Rows changed since it was opened, and by the last statement.
  std::int64_t total_changes() const;
  std::int64_t changes() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  Statement start(std::string_view sql);

  std::unique_ptr<std::int64_t> log_pages_;  // null until it is asked for
  std::unique_ptr<sqlite3, Close> database_;
  std::unordered_map<std::string, std::unique_ptr<sqlite3_stmt, Finalize>, TextHash, std::equal_to<>> statements_;
};

// All that is read while it lives is of one moment.
class ReadTransaction {
 public:
  explicit ReadTransaction(Connection& connection);
  ~ReadTransaction();
  ReadTransaction(const ReadTransaction&) = delete;
  ReadTransaction& operator=(const ReadTransaction&) = delete;

 private:
  Connection& connection_;
};

}  // namespace sojourn::store
