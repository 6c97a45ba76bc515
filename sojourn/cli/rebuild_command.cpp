#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <exception>
#include <optional>
#include <ostream>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/stored.hpp"
#include "sojourn/store/artifact_folder.hpp"
#include "sojourn/store/artifact_path.hpp"
#include "sojourn/store/manifest.hpp"
#include "sojourn/store/refusals.hpp"
#include "sojourn/store/session_folder.hpp"

namespace sojourn::cli {

namespace {

constexpr std::size_t sessions_at_once = 100;

// That one process at most makes folders anew: what it writes beside a running server has names of its own, which
// another would have too. Held by the data folder itself, since nobody else locks that, and released by any death.
Descriptor take_turn(const std::filesystem::path& data) {
  Descriptor folder(::open(data.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) throw store::file_refused("open", data, errno);
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) == 0) return folder;
  if (errno != EWOULDBLOCK) throw store::file_refused("lock", data, errno);
  throw Error(ErrorCode::store_locked,
              fmt::format("another `sojourn audit rebuild` works on '{}': wait until it is done", data.string()));
}

// Makes folders anew, and goes on where one cannot be.
class Rebuilding {
 public:
  Rebuilding(store::Store& store, const Settings& settings, Console& console)
      : store_(store),
        folders_(settings.data, settings.data_sessions_path, ".rebuilt.new"),
        contents_(settings.data),
        console_(console) {}

  Async<void> rebuild(std::string session_id) {
    const std::optional<store::Snapshot> stored = co_await store_.load(session_id);
    if (!stored) throw store::session_unknown(session_id);
    co_await rebuild(stored->record);
  }

  Async<void> rebuild_all() {
    std::string cursor;
    do {
      const store::SessionPage page = co_await store_.list({}, cursor, sessions_at_once);
      for (const store::SessionRecord& record : page.sessions) co_await rebuild(record);
      cursor = page.next_cursor;
    } while (!cursor.empty());
  }

  ExitCode end() {
    if (console_.json) {
      print_json(console_, JsonObject{{"folders", folders_made_}, {"artifacts", placed_}, {"failed", failed_}});
    } else {
      console_.out << fmt::format("{} folders, {} artefacts, {} failed\n", folders_made_, placed_, failed_);
    }
    return failed_ == 0 ? ExitCode::ok : ExitCode::failed;
  }

 private:
  Async<void> rebuild(store::SessionRecord record) {
    if (!is_session_id(record.id)) co_return;
    store::Manifest manifest;
    co_await store::read_manifest(store_, record.id, 1, manifest);
    const store::StepSummary steps = co_await store_.step_summary(record.id);
    const auto write = [&] { folders_.write_metadata(record, steps); };
    if (!attempt(record.id, "session_metadata.json", write)) co_return;
    ++folders_made_;
    const std::filesystem::path folder = folders_.path_of(record.id);
    for (const auto& [path, attempts] : manifest.paths()) {
      const std::vector<std::string> names = store::split_artifact_path(path);
      const std::string& hash = attempts.back().sha256;
      if (store::hash_of_placed(folder, names) == hash) continue;
      if (attempt(record.id, path, [&] { store::place(contents_, record.id, hash, folder, names); })) ++placed_;
    }
  }

  template <class F>
  bool attempt(const std::string& session_id, const std::string& path, F work) {
    try {
      work();
      return true;
    } catch (const std::exception& error) {
      ++failed_;
      console_.err << paint(console_, Colour::red, "sojourn:") << ' '
                   << printable(fmt::format("{}: '{}' could not be made: {}", session_id, path, error.what()))
                   << '\n';
      return false;
    }
  }

  store::Store& store_;
  const store::SessionFolders folders_;
  const store::ArtifactStore contents_;
  Console& console_;
  std::uint64_t folders_made_ = 0;
  std::uint64_t placed_ = 0;
  std::uint64_t failed_ = 0;
};

Async<void> rebuild(store::Store& store, const RebuildOptions& options, const Settings& settings, Console& console,
                    ExitCode& code) {
  Rebuilding rebuilding(store, settings, console);
  if (options.session.empty()) {
    co_await rebuilding.rebuild_all();
  } else {
    co_await rebuilding.rebuild(options.session);
  }
  code = rebuilding.end();
}

}  // namespace

ExitCode rebuild_folders(const RebuildOptions& options, const Settings& settings, Console& console) {
  ExitCode code = ExitCode::ok;
  std::optional<Descriptor> turn;
  read_store(settings, [&](store::Store& store) {
    turn = take_turn(settings.data);
    return rebuild(store, options, settings, console, code);
  });
  return code;
}

}  // namespace sojourn::cli
