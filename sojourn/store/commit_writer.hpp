#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/store/sqlite.hpp"

// Group commit: one thread writes, and takes every change that waits into one transaction, so that all share an
// fsync.
//
// There is no artificial delay: while one transaction is synced, the next changes gather. A change that is refused
// harms none beside it: had it written nothing it is left out, else the transaction begins again without it.
namespace sojourn::store {

struct WriterStatistics {
  std::uint64_t transactions = 0;  // that became durable
  std::uint64_t changes = 0;       // made durable by them
};

// What the writer calls, on its thread.
struct WriterHooks {
  std::function<void()> check;        // before each transaction; what it throws is why there is none
  std::function<void()> rolled_back;  // after each transaction that did not become durable
  std::function<void()> answered;     // outside of any, once the callers of one are told how it ended
  // After `answered`, where a change was refused through no fault of its own: the disk is full, cannot be written or
  // fails, another program holds the store or damaged it, no memory is left. May be empty.
  std::function<void(const Error&)> refused;
};

class CommitWriter {
 public:
  // Lifetime: `connection` is used until close() returns.
  CommitWriter(Connection& connection, WriterHooks hooks);
  ~CommitWriter();  // closes
  CommitWriter(const CommitWriter&) = delete;
  CommitWriter& operator=(const CommitWriter&) = delete;

  // Runs `change` on the writer's thread inside a transaction, and resumes on the caller's executor after the fsync
  // with its result. It may run several times, of which the last one counts.
  // Errors: what `change` throws, or why the transaction failed; nothing of it is applied. unavailable after close().
  // Order:  of the calls. Cancel: not supported.
  template <class F>
  auto run(F change) -> Async<std::invoke_result_t<F>> {
    using T = std::invoke_result_t<F>;
    if constexpr (std::is_void_v<T>) {
      co_await run_erased([&] { change(); });
    } else {
      std::optional<T> result;
      co_await run_erased([&] { result.emplace(change()); });
      co_return std::move(*result);
    }
  }

  // Waits, blocking, for what was called before, and ends the thread. Idempotent. Threads: any but the writer's.
  void close();

  // Threads: safe.
  WriterStatistics statistics() const;

 private:
  struct Change {
    std::function<void()> apply;
    Executor executor;  // the caller's
    std::move_only_function<void()> resume;
    std::exception_ptr error;
  };

  Async<void> run_erased(std::function<void()> apply);
  void enqueue(Change& change);
  void write();
  void commit(const std::vector<Change*>& batch);
  bool try_commit(const std::vector<Change*>& batch);
  void roll_back();
  void note_refusal();
  static void resume(const std::vector<Change*>& batch);

  Connection& connection_;
  WriterHooks hooks_;
  std::optional<Error> refusal_;  // of the batch that is written
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Change*> waiting_;
  bool closing_ = false;
  std::atomic<std::uint64_t> transactions_ = 0;
  std::atomic<std::uint64_t> changes_ = 0;
  std::once_flag joined_;
  std::thread thread_;
};

}  // namespace sojourn::store
