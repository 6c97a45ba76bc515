#include "sojourn/server/folder_writer.hpp"

#include <filesystem>
#include <system_error>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"

namespace sojourn::server {

namespace {

constexpr std::size_t most_waiting = 1'000;

}  // namespace

FolderWriter::FolderWriter(Executor executor, store::Store& store, store::SessionFolders folders, const Log& log)
    : store_(store), folders_(std::move(folders)), log_(log), blocking_(1), group_(std::move(executor)) {}

void FolderWriter::renew(std::string session_id) {
  if (waiting_.size() >= most_waiting || !is_session_id(session_id)) return;
  waiting_.push_back(std::move(session_id));
  if (!std::exchange(running_, true)) group_.spawn(run());
}

Async<void> FolderWriter::run() {
  while (!waiting_.empty()) {
    std::string id = std::move(waiting_.front());
    waiting_.pop_front();
    try {
      co_await write(id);
    } catch (const std::exception& error) {
      log_.warning("a session's folder could not be brought up to date",
                   {{"session", id}, {"error", to_valid_utf8(error.what())}});
    }
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
  if (stored) co_await blocking_.run([&] { folders_.write_metadata(stored->record); });
}

Async<void> FolderWriter::close() {
  co_await group_.join();
}

}  // namespace sojourn::server
