#include "sojourn/store/checkpoints.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace sojourn::store {

namespace {

// So few that folding them is about as long as one commit.
constexpr std::int64_t few_pages = 300;
constexpr int most_rounds = 6;
constexpr std::int64_t most_thresholds = 4;

// It reads something at once, so that it has the descriptor of the log before clients take it.
Connection connect(const std::filesystem::path& file) {
  Connection connection(file, OpenMode::read_write);
  connection.run("PRAGMA schema_version");
  return connection;
}

}  // namespace

Checkpoints::Checkpoints(Connection& writer, const std::filesystem::path& file, std::uint64_t log_pages,
                         std::function<void()> sync_failed)
    : writer_(writer),
      threshold_(static_cast<std::int64_t>(std::max<std::uint64_t>(log_pages, 1))),
      sync_failed_(std::move(sync_failed)),
      next_try_(threshold_),
      connection_(connect(file)),
      thread_([this] { fold_rounds(); }) {
  writer_.log_pages();  // from now on SQLite folds nothing by itself
}

Checkpoints::~Checkpoints() {
  close();
}

void Checkpoints::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Checkpoints::after_commit() {
  const std::int64_t length = writer_.log_pages();
  if (length < seen_) {  // begun again
    next_try_ = threshold_;
    rounds_ = 0;
    const std::lock_guard lock(mutex_);
    folded_ = 0;
  }
  seen_ = length;
  if (length < next_try_) return;
  if (writer_.sync_has_failed()) {
    next_try_ = std::numeric_limits<std::int64_t>::max();
    if (sync_failed_) sync_failed_();
    return;
  }
  const bool too_long = length >= most_thresholds * threshold_;
  std::int64_t left = 0;
  {
    const std::lock_guard lock(mutex_);
    if (running_ && !too_long) return;
    left = length - folded_;
  }
  const bool much_left = rounds_ == 0 || left > std::min(few_pages, threshold_ / 10);
  if (!too_long && much_left && rounds_ < most_rounds) {
    start_round();
  } else {
    wait_for_round();
    fold_the_rest();
  }
}

void Checkpoints::start_round() {
  ++rounds_;
  {
    const std::lock_guard lock(mutex_);
    running_ = true;
    folded_ = 0;
  }
  changed_.notify_all();
}

void Checkpoints::wait_for_round() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !running_; });
}

void Checkpoints::fold_the_rest() {
  writer_.checkpoint();
  // The next commit begins the log again, or else somebody still reads it.
  rounds_ = 0;
  next_try_ = seen_ + std::max<std::int64_t>(threshold_ / 4, 1);
}

void Checkpoints::fold_rounds() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return running_ || closing_; });
    if (!running_) return;
    lock.unlock();
    const std::int64_t folded = connection_.checkpoint();
    lock.lock();
    folded_ = folded;
    running_ = false;
    changed_.notify_all();
  }
}

}  // namespace sojourn::store
