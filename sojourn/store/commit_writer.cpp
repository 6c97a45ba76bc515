#include "sojourn/store/commit_writer.hpp"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace asio = boost::asio;

namespace {

bool is_of_the_store(ErrorCode code) {
  switch (code) {
    case ErrorCode::store_full:
    case ErrorCode::store_read_only:
    case ErrorCode::store_corrupt:
    case ErrorCode::store_locked:
    case ErrorCode::io_error:
    case ErrorCode::unavailable:
      return true;
    default:
      return false;
  }
}

}  // namespace

CommitWriter::CommitWriter(Connection& connection, WriterHooks hooks)
    : connection_(connection), hooks_(std::move(hooks)), thread_([this] { write(); }) {}

CommitWriter::~CommitWriter() {
  close();
}

void CommitWriter::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  arrived_.notify_one();
  std::call_once(joined_, [&] { thread_.join(); });
}

WriterStatistics CommitWriter::statistics() const {
  return {transactions_.load(), changes_.load()};
}

Async<void> CommitWriter::run_erased(std::function<void()> apply) {
  const auto caller = co_await asio::this_coro::executor;
  Change change{.apply = std::move(apply), .executor = caller, .resume = {}, .error = {}};
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
      [&](auto handler) {
        // The caller's executor must not run dry while only the writer knows of this change.
        auto work = asio::prefer(caller, asio::execution::outstanding_work.tracked);
        change.resume = [work, handler = std::move(handler)]() mutable { asio::dispatch(work, std::move(handler)); };
        enqueue(change);
      },
      asio::use_awaitable);
  if (change.error) std::rethrow_exception(change.error);
}

void CommitWriter::enqueue(Change& change) {
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = closing_;
    if (!closed) waiting_.push_back(&change);
  }
  if (closed) {
    change.error = std::make_exception_ptr(store_closed());
    auto resume = std::move(change.resume);
    resume();
  } else {
    arrived_.notify_one();
  }
}

void CommitWriter::write() {
  std::vector<Change*> batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      batch.swap(waiting_);
    }
    commit(batch);
    resume(batch);
    batch.clear();
    hooks_.answered();
    if (refusal_ && hooks_.refused) hooks_.refused(*refusal_);
    refusal_.reset();
  }
}

// Wakes the executor of the first once for all: each resumes there at once, or is posted where its own is another.
// A change dies with its coroutine, so what resumes it is taken from it first.
void CommitWriter::resume(const std::vector<Change*>& batch) {
  const Executor executor = batch.front()->executor;
  std::vector<std::move_only_function<void()>> resumes;
  resumes.reserve(batch.size());
  for (Change* change : batch) resumes.push_back(std::move(change->resume));
  asio::post(executor, [resumes = std::move(resumes)]() mutable {
    for (auto& each : resumes) each();
  });
}

void CommitWriter::commit(const std::vector<Change*>& batch) {
  try {
    hooks_.check();
    while (!try_commit(batch)) {
    }
  } catch (...) {
    for (Change* change : batch) {
      if (!change->error) change->error = std::current_exception();
    }
    roll_back();
    note_refusal();
  }
}

// False when a change was refused after it had written, and the rest must be tried again.
bool CommitWriter::try_commit(const std::vector<Change*>& batch) {
  std::uint64_t applied = 0;
  connection_.execute("BEGIN IMMEDIATE");
  for (Change* change : batch) {
    if (change->error) continue;
    const std::int64_t before = connection_.total_changes();
    try {
      change->apply();
      ++applied;
    } catch (...) {
      change->error = std::current_exception();
      note_refusal();
      if (connection_.total_changes() != before || !connection_.in_transaction()) {
        roll_back();
        return false;
      }
    }
  }
  connection_.execute("COMMIT");
  if (applied > 0) {
    transactions_ += 1;
    changes_ += applied;
  }
  return true;
}

void CommitWriter::roll_back() {
  connection_.roll_back();
  hooks_.rolled_back();
}

// Called where an exception is handled.
void CommitWriter::note_refusal() {
  try {
    throw;
  } catch (const Error& error) {
    if (is_of_the_store(error.code())) refusal_ = error;
  } catch (...) {
    // Whatever a change threw, it is no word of the store's.
  }
}

}  // namespace sojourn::store
