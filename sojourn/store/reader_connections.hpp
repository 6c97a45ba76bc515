#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "sojourn/store/sqlite.hpp"

namespace sojourn::store {

// Read-only connections that threads borrow, one each.
// Threads: safe.
class ReaderConnections {
 public:
  // There must be at least as many connections as threads that borrow: nobody waits for one.
  explicit ReaderConnections(std::vector<Connection> connections) : idle_(std::move(connections)) {}

  // Calls `read` with a connection, inside a transaction, so that it sees one moment.
  // Errors: what `read` throws; unavailable after close().
  template <class F>
  auto run(F& read) {
    Loan loan(*this);
    const ReadTransaction transaction(*loan.connection);
    return read(*loan.connection);
  }

  // Waits for the reads that run, then closes all connections. Idempotent.
  void close();

 private:
  struct Loan {
    explicit Loan(ReaderConnections& from) : owner(from), connection(from.take()) {}
    ~Loan() { owner.give_back(std::move(connection)); }
    ReaderConnections& owner;
    std::optional<Connection> connection;
  };

  Connection take();
  void give_back(std::optional<Connection> connection);

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<Connection> idle_;
  std::size_t lent_ = 0;
  bool closed_ = false;
};

}  // namespace sojourn::store
