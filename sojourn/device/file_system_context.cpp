#include "sojourn/device/file_system_context.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/device/device_session.hpp"

namespace sojourn::device {

namespace {

constexpr std::int64_t temporary_cost = 1;

// "/a/b" of "a/b", "./a/b/" and "/a/b": a board starts in its first folder.
std::string key_of(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.empty() || path == ".") return "/";
  return path.starts_with('/') ? std::string(path) : "/" + std::string(path);
}

std::string folder_of(const std::string& key) {
  const std::size_t slash = key.rfind('/');
  return slash == 0 || slash == key.npos ? "/" : key.substr(0, slash);
}

bool is_at_or_below(std::string_view key, std::string_view folder) {
  return key == folder || folder == "/" || (key.starts_with(folder) && key.substr(folder.size()).starts_with('/'));
}

std::string resource_id(const std::string& path) {
  return "file:" + key_of(path);
}

bool may_change(FileOperationKind kind) {
  return kind != FileOperationKind::list && kind != FileOperationKind::stat && kind != FileOperationKind::read;
}

// The operations, as coroutines that hold what they work on.
struct On {
  static Async<std::uint64_t> list(Board& board, std::string folder, Instant deadline,
                                   std::vector<BoardFile>& files) {
    files = co_await BoardFiles(board).list(std::move(folder), deadline);
    co_return 0;
  }
  static Async<std::uint64_t> stat(Board& board, std::string path, Instant deadline, std::optional<BoardFile>& file) {
    file = co_await BoardFiles(board).stat(std::move(path), deadline);
    co_return 0;
  }
  static Async<std::uint64_t> read(Board& board, std::string path, Instant deadline, FileOptions options,
                                   std::string& data) {
    data = co_await BoardFiles(board, std::move(options)).read(std::move(path), deadline);
    co_return data.size();
  }
  static Async<std::uint64_t> write(Board& board, std::string path, std::string data, Instant deadline,
                                    FileOptions options) {
    const std::uint64_t size = data.size();
    co_await BoardFiles(board, std::move(options)).write(std::move(path), std::move(data), deadline);
    co_return size;
  }
  static Async<std::uint64_t> remove(Board& board, std::string path, Instant deadline) {
    co_await BoardFiles(board).remove(std::move(path), deadline);
    co_return 0;
  }
  static Async<std::uint64_t> make_folder(Board& board, std::string path, Instant deadline) {
    co_await BoardFiles(board).make_folder(std::move(path), deadline);
    co_return 0;
  }
  static Async<std::uint64_t> sync(Board& board, const FileTree& files, std::string folder, Instant deadline,
                                   SyncOptions options, SyncReport& report) {
    report = co_await sync_to_board(board, files, std::move(folder), deadline, std::move(options));
    std::uint64_t bytes = 0;
    for (const std::string& path : report.sent) bytes += files.at(path).size();
    co_return bytes;
  }
};

}  // namespace

std::string_view to_string(FileOperationKind kind) {
  using enum FileOperationKind;
  switch (kind) {
    case list:
      return "list";
    case stat:
      return "stat";
    case read:
      return "read";
    case write:
      return "write";
    case remove:
      return "remove";
    case make_folder:
      return "make_folder";
    case sync:
      return "sync";
    case other:
      break;
  }
  return "other";
}

const std::string& FileSystemContext::session_id() const {
  return session_.id();
}

std::uint64_t FileSystemContext::runs() const {
  return session_.board().link().statistics().runs;
}

void FileSystemContext::forget_if_anything_ran() {
  if (seen_runs_ == runs() && seen_boot_ == session_.board().link().boot()) return;
  forget();
  note_runs();
}

void FileSystemContext::note_runs() {
  seen_boot_ = session_.board().link().boot();
  seen_runs_ = runs();
}

// A board that started anew before a piece of it began has the whole again, which is then as if it were the first.
Async<void> FileSystemContext::operate(FileOperationKind kind, std::string path, Work work, Instant deadline) {
  FileOperation operation{.kind = kind, .path = path, .at = session_.clock().now()};
  const Instant start = session_.clock().instant();
  const std::function<Async<void>(Board&)> counted = [&](Board& board) {
    struct Counted {
      static Async<void> run(FileSystemContext& files, FileOperation& about, const Work& what, Board& on) {
        files.forget_if_anything_ran();
        about.bytes = co_await what(on);
        files.note_runs();
      }
    };
    return Counted::run(*this, operation, work, board);
  };
  std::exception_ptr failure;
  for (bool again = false;; again = true) {
    bool not_begun = false;
    failure = nullptr;
    try {
      co_await session_.use(counted, deadline);
    } catch (const Error& error) {
      failure = std::current_exception();
      operation.failure = error.code();
      not_begun = has_not_begun(error);
    }
    if (!not_begun || again) break;
  }
  if (!failure) operation.failure = std::nullopt;
  operation.took = std::chrono::duration_cast<Microseconds>(session_.clock().instant() - start);
  if (may_change(kind)) invalidate(path);
  note(std::move(operation));
  if (failure) std::rethrow_exception(failure);
}

Async<std::vector<BoardFile>> FileSystemContext::list(std::string folder, Instant deadline) {
  forget_if_anything_ran();
  const std::string key = key_of(folder);
  if (const auto known = state_.folders.find(key); known != state_.folders.end()) co_return known->second;
  std::vector<BoardFile> files;
  const Work work = [&](Board& board) { return On::list(board, folder, deadline, files); };
  co_await operate(FileOperationKind::list, folder, work, deadline);
  state_.folders[key] = files;
  co_return files;
}

Async<std::optional<BoardFile>> FileSystemContext::stat(std::string path, Instant deadline) {
  forget_if_anything_ran();
  const std::string key = key_of(path);
  if (const auto known = state_.files.find(key); known != state_.files.end()) co_return known->second;
  std::optional<BoardFile> file;
  const Work work = [&](Board& board) { return On::stat(board, path, deadline, file); };
  co_await operate(FileOperationKind::stat, path, work, deadline);
  state_.files[key] = file;
  co_return file;
}

Async<std::string> FileSystemContext::read(std::string path, Instant deadline, FileOptions options) {
  std::string data;
  const Work work = [&](Board& board) { return On::read(board, path, deadline, options, data); };
  co_await operate(FileOperationKind::read, path, work, deadline);
  co_return data;
}

Async<void> FileSystemContext::write(std::string path, std::string data, Instant deadline, FileOptions options) {
  const Work work = [&](Board& board) { return On::write(board, path, data, deadline, options); };
  co_await operate(FileOperationKind::write, path, work, deadline);
}

Async<void> FileSystemContext::remove(std::string path, Instant deadline) {
  const Work work = [&](Board& board) { return On::remove(board, path, deadline); };
  co_await operate(FileOperationKind::remove, path, work, deadline);
  release_temporary(key_of(path));
}

Async<void> FileSystemContext::make_folder(std::string path, Instant deadline) {
  const Work work = [&](Board& board) { return On::make_folder(board, path, deadline); };
  co_await operate(FileOperationKind::make_folder, path, work, deadline);
}

Async<SyncReport> FileSystemContext::sync(FileTree files, std::string folder, Instant deadline, SyncOptions options) {
  SyncReport report;
  const Work work = [&](Board& board) { return On::sync(board, files, folder, deadline, options, report); };
  co_await operate(FileOperationKind::sync, folder, work, deadline);
  co_return report;
}

Async<void> FileSystemContext::write_temporary(std::string path, std::string data, Instant deadline,
                                               FileOptions options) {
  register_temporary(path);
  co_await write(std::move(path), std::move(data), deadline, std::move(options));
}

void FileSystemContext::register_temporary(std::string path) {
  std::string key = key_of(path);
  session_.add_resource({.id = resource_id(path), .kind = "file", .cost = temporary_cost, .cleanup = [this, path] {
                           return remove_temporary(path);
                         }});
  state_.temporary.push_back(std::move(key));
}

bool FileSystemContext::release_temporary(const std::string& path) {
  session_.release_resource(resource_id(path));
  return std::erase(state_.temporary, path) > 0;
}

// In the session's own turn, at its end. The deadline is the resource's.
Async<void> FileSystemContext::remove_temporary(std::string path) {
  Board& board = session_.board();
  BoardFiles files(board);
  const Instant deadline = board.link().in(limits::resource_cleanup);
  FileOperation operation{.kind = FileOperationKind::remove, .path = path, .at = session_.clock().now()};
  std::erase(state_.temporary, key_of(path));
  if (!co_await files.stat(path, deadline)) co_return;
  co_await files.remove(path, deadline);
  note(std::move(operation));
}

FileSystemState FileSystemContext::state() const {
  FileSystemState state{.temporary = state_.temporary, .operations = state_.operations};
  if (seen_runs_ != runs() || seen_boot_ != session_.board().link().boot()) return state;
  state.files = state_.files;
  state.folders = state_.folders;
  return state;
}

void FileSystemContext::invalidate(std::string_view path) {
  const std::string key = key_of(path);
  const auto is_about_it = [&](const auto& entry) {
    return is_at_or_below(entry.first, key) || entry.first == folder_of(key);
  };
  std::erase_if(state_.files, is_about_it);
  std::erase_if(state_.folders, is_about_it);
}

void FileSystemContext::register_operation(FileOperation operation) {
  if (may_change(operation.kind)) invalidate(operation.path);
  note(std::move(operation));
}

void FileSystemContext::note(FileOperation operation) {
  ++state_.operations;
  if (log_.size() == most_logged) log_.erase(log_.begin());
  log_.push_back(std::move(operation));
}

void FileSystemContext::forget() {
  state_.files.clear();
  state_.folders.clear();
}

}  // namespace sojourn::device
