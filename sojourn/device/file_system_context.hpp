#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/device/board_sync.hpp"

namespace sojourn::device {

class DeviceSession;

enum class FileOperationKind { list, stat, read, write, remove, make_folder, sync, other };

std::string_view to_string(FileOperationKind kind);

struct FileOperation {
  FileOperationKind kind = FileOperationKind::other;
  std::string path;
  std::uint64_t bytes = 0;  // read or written
  Time at{};
  Microseconds took{};
  std::optional<ErrorCode> failure = std::nullopt;  // nothing: it succeeded
};

// What a session knows of its board's files at the moment.
struct FileSystemState {
  std::map<std::string, std::optional<BoardFile>> files;  // by path, as stat() saw them
  std::map<std::string, std::vector<BoardFile>> folders;  // as list() saw them
  std::vector<std::string> temporary;                     // oldest first
  std::uint64_t operations = 0;
};

// A session's files on its board: its operations, a log of them, what they saw, and those that go when it ends
// (seed 002).
//
// What list() and stat() saw is not asked for again until something may have changed it: an operation here on the
// same path, invalidate(), any other code that was run on the board, its restart, the session's end. What changes
// files without the host, such as a thread, is not seen.
//
// Threads:  as DeviceSession, whose turn each operation takes. Lifetime: its session's.
//
// All fail as DeviceSession::exec and BoardFiles do.
class FileSystemContext {
 public:
  explicit FileSystemContext(DeviceSession& session) : session_(session) {}
  FileSystemContext(const FileSystemContext&) = delete;
  FileSystemContext& operator=(const FileSystemContext&) = delete;

  const std::string& session_id() const;

  Async<std::vector<BoardFile>> list(std::string folder, Instant deadline);
  Async<std::optional<BoardFile>> stat(std::string path, Instant deadline);
  Async<std::string> read(std::string path, Instant deadline, FileOptions options = {});
  Async<void> write(std::string path, std::string data, Instant deadline, FileOptions options = {});
  Async<void> remove(std::string path, Instant deadline);
  Async<void> make_folder(std::string path, Instant deadline);
  Async<SyncReport> sync(FileTree files, std::string folder, Instant deadline, SyncOptions options = {});

  // Writes a file that is removed when the session ends, or takes one for such that is made otherwise. They go newest
  // first, among the session's other resources, and are released by remove(). One that is gone by then is no failure.
  // Errors: already_exists for a path that is one already; those of DeviceSession::add_resource.
  Async<void> write_temporary(std::string path, std::string data, Instant deadline, FileOptions options = {});
  void register_temporary(std::string path);

  FileSystemState state() const;

  // Forgets what was seen of `path`, of what is below it and of the folder that it is in.
  void invalidate(std::string_view path);

  // Tells of what was done otherwise, and forgets what that may have changed.
  void register_operation(FileOperation operation);

  static constexpr std::size_t most_logged = 64;
  const std::vector<FileOperation>& operations() const { return log_; }  // oldest first; the last most_logged

  // At the session's end: what was seen is forgotten, the log stays.
  void forget();

 private:
  using Work = std::function<Async<std::uint64_t>(Board&)>;  // returns how many bytes it read or wrote

  Async<void> operate(FileOperationKind kind, std::string path, Work work, Instant deadline);
  Async<void> remove_temporary(std::string path);
  bool release_temporary(const std::string& path);
  void forget_if_anything_ran();
  void note_runs();
  std::uint64_t runs() const;
  void note(FileOperation operation);

  DeviceSession& session_;
  FileSystemState state_;
  std::vector<FileOperation> log_;
  std::uint64_t seen_runs_ = 0;  // of the link, when what was seen was last known to hold
  std::uint64_t seen_boot_ = 0;
};

}  // namespace sojourn::device
