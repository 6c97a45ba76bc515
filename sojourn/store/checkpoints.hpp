#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "sojourn/store/sqlite.hpp"

// Folds the log into the database beside the writer, so that no commit waits for thousands of pages.
//
// SQLite begins a log again at its start only when all of it is folded and a commit begins just then. So a thread of
// its own folds most of it, with a connection of its own, while commits go on; round by round less is left, and the
// few pages that are left at last the writer folds between two commits.
namespace sojourn::store {

class Checkpoints {
 public:
  // `sync_failed` is called once, by the writer's thread, when a sync of the database has failed.
  // Lifetime: `writer` is used until close() returns. Errors: those of a Connection.
  Checkpoints(Connection& writer, const std::filesystem::path& file, std::uint64_t log_pages,
              std::function<void()> sync_failed);
  ~Checkpoints();  // closes
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  // Does what the length of the log asks for. The log stays below about four times `log_pages`, unless somebody reads
  // one moment of it for long. A checkpoint that fails harms nothing and is tried again, unless a sync of the
  // database failed: then the log is kept, and grows, until the database is opened again. Threads: the writer's,
  // outside of a transaction.
  void after_commit();

  // Waits for the round that runs. Idempotent. Threads: one at a time, while nothing is written.
  void close();

 private:
  void fold_rounds();
  void start_round();
  void wait_for_round();
  void fold_the_rest();

  // The writer's own.
  Connection& writer_;
  const std::int64_t threshold_;
  const std::function<void()> sync_failed_;
  std::int64_t seen_ = 0;      // length of the log at the last commit
  std::int64_t next_try_ = 0;  // length from which on something is done
  int rounds_ = 0;             // since the rest was folded

  std::mutex mutex_;
  std::condition_variable changed_;
  bool running_ = false;
  bool closing_ = false;
  std::int64_t folded_ = 0;  // pages of the log, by the last round

  Connection connection_;
  std::thread thread_;
};

}  // namespace sojourn::store
