#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sojourn/base/async.hpp"

struct sqlite3;

// The least that makes a call durable: one writer thread that takes every waiting commit into one SQLite transaction.
namespace sojourn::bench {

// What one call leaves: a session row replaced, a state row replaced, an event and a task inserted.
struct BareCommit {
  std::string session_id;
  std::int64_t version = 0;
  std::int64_t updated_at = 0;
  std::string state_key;
  std::string state_value;
  std::string event;
  std::string task_id;
  std::string input;
  std::string output;
};

class BareStore {
 public:
  // Errors: io_error.
  explicit BareStore(const std::string& path);
  ~BareStore();
  BareStore(const BareStore&) = delete;
  BareStore& operator=(const BareStore&) = delete;

  // Durable: when it returns. A write that fails ends the program: a benchmark has nothing to tell then.
  Async<void> commit(BareCommit commit);

 private:
  struct Waiting {
    BareCommit commit;
    std::move_only_function<void()> resume;
  };

  void write_until_closed(const Executor& executor);
  void enqueue(Waiting waiting, const Executor& executor);

  sqlite3* database_ = nullptr;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Waiting> waiting_;
  bool closed_ = false;
  std::thread writer_;
};

}  // namespace sojourn::bench
