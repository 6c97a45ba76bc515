#include "sojourn/server/folder_writer.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"

namespace sojourn::server {

namespace {

constexpr std::size_t most_waiting = 10'000;
constexpr int pause_of_work = 9;

}  // namespace

FolderWriter::FolderWriter(Executor executor, store::Store& store, store::SessionFolders folders, Clock& clock,
                           const Log& log)
    : store_(store),
      folders_(std::move(folders)),
      clock_(clock),
      log_(log),
      blocking_(1),
      group_(std::move(executor)) {}

void FolderWriter::renew(std::string session_id) {
  if (waiting_.size() >= most_waiting || !is_session_id(session_id)) return;
  waiting_.insert(std::move(session_id));
  if (!std::exchange(running_, true)) group_.spawn(run());
}

Async<void> FolderWriter::run() {
  while (!waiting_.empty()) {
    const Instant begun = clock_.instant();
    for (std::set<std::string> taken = std::exchange(waiting_, {}); !taken.empty();) {
      if (close_by_ && clock_.instant() >= *close_by_) {
        log_.warning("sessions' metadata is older than the store; `sojourn audit rebuild` renews it",
                     {{"sessions", taken.size() + waiting_.size()}});
        waiting_.clear();
        break;
      }
      const std::string id = std::move(taken.extract(taken.begin()).value());
      try {
        co_await write(id);
      } catch (const std::exception& error) {
        log_.warning("a session's folder could not be brought up to date",
                     {{"session", id}, {"error", to_valid_utf8(error.what())}});
      }
    }
    const Instant now = clock_.instant();
    const auto pause = std::max<Instant::duration>(least_pause, pause_of_work * (now - begun));
    if (!close_by_) co_await closed_.wait_until(clock_, now + pause);
  }
  running_ = false;
}

Async<void> FolderWriter::write(std::string session_id) {
  const bool there = co_await blocking_.run([&] {
    std::error_code error;
    return std::filesystem::is_directory(folders_.path_of(session_id), error);
  });
  if (!there) co_return;
  const std::optional<store::Snapshot> stored = co_await store_.load(session_id);
  const store::StepSummary steps = co_await store_.step_summary(session_id);
  if (stored) co_await blocking_.run([&] { folders_.renew_metadata(stored->record, steps); });
}

Async<void> FolderWriter::close() {
  if (!close_by_) close_by_ = clock_.instant() + longest_close;
  closed_.notify_all();
  co_await group_.join();
}

}  // namespace sojourn::server
