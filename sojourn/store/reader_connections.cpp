#include "sojourn/store/reader_connections.hpp"

#include <cassert>

#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

Connection ReaderConnections::take() {
  const std::lock_guard lock(mutex_);
  if (closed_) throw store_closed();
  assert(!idle_.empty());
  Connection connection = std::move(idle_.back());
  idle_.pop_back();
  ++lent_;
  return connection;
}

void ReaderConnections::give_back(std::optional<Connection> connection) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(*connection));
  --lent_;
  returned_.notify_all();
}

void ReaderConnections::close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  returned_.wait(lock, [&] { return lent_ == 0; });
  idle_.clear();
}

}  // namespace sojourn::store
