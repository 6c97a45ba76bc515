#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/stored.hpp"
#include "sojourn/store/archive.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/folder_lock.hpp"
#include "sojourn/store/journal_key.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

// A file that gets its name when it is whole and on the disk, and leaves nothing before.
class WholeFile {
 public:
  explicit WholeFile(fs::path path)
      : path_(std::move(path)),
        fresh_(fmt::format("{}.{}.part", path_.string(), ::getpid())),
        number_(::open(fresh_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {
    if (number_ < 0) refuse("make", errno);
  }
  ~WholeFile() {
    ::close(number_);
    ::unlink(fresh_.c_str());
  }
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  void write(std::string_view piece) {
    while (!piece.empty()) {
      const ::ssize_t written = ::write(number_, piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) refuse("write", errno);
      piece.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void commit() {
    if (::fsync(number_) != 0) refuse("sync", errno);
    if (::rename(fresh_.c_str(), path_.c_str()) != 0) refuse("make", errno);
    store::sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
  }

 private:
  [[noreturn]] void refuse(std::string_view verb, int reason) const {
    throw io_error(fmt::format("cannot {} '{}'", verb, path_.string()), reason);
  }

  fs::path path_;
  fs::path fresh_;
  int number_;
};

Async<void> append(WholeFile& file, std::string piece) {
  file.write(piece);
  co_return;
}

Async<void> write(store::Store& store, std::string session, const fs::path& data, fs::path path,
                  store::VerifyReport& report) {
  const SigningKey key = store::read_journal_key(data);
  const store::ArtifactStore artifacts(data);
  WholeFile file(path);
  report = co_await store::write_archive(store, session, key, store::find_public_keys(data), SystemClock().now(),
                                         &artifacts,
                                         [&file](std::string piece) { return append(file, std::move(piece)); });
  file.commit();
}

}  // namespace

ExitCode export_session(const ExportOptions& options, const Settings& settings, Console& console) {
  store::VerifyReport report;
  fs::path path = options.output;
  if (path.empty()) path = fs::path(options.session).filename().string() + ".tar";
  read_store(settings,
             [&](store::Store& store) { return write(store, options.session, settings.data, path, report); });
  if (console.json) {
    print_json(console, JsonObject{{"id", report.session_id},
                                   {"file", to_valid_utf8(path.string())},
                                   {"events", report.events},
                                   {"ok", report.ok()}});
  } else {
    console.out << fmt::format("{}  {} events\n", printable(path.string()), report.events);
  }
  if (report.ok()) return ExitCode::ok;
  console.err << paint(console, Colour::red, "sojourn:") << " the archive holds the session as it is, whose journal "
              << "does not hold: " << printable(report.findings.front().message) << '\n';
  return ExitCode::failed;
}

ExitCode show_journal_key(const JournalKeyOptions& options, const Settings& settings, Console& console) {
  const fs::path& data = settings.data;
  if (options.rotate && !store::find_public_keys(data).empty()) {
    const store::FolderLock lock(data);
    console.err << "journals are signed by " << store::rotate_journal_key(data).id() << " from now on\n";
  }
  const std::optional<PublicKey> key = store::find_public_key(data);
  if (!key) {
    throw Error(ErrorCode::config_invalid,
                fmt::format("there is no key in {} (data: {}): a server makes it when it first starts",
                            settings.data.string(), settings.value("data").source));
  }
  if (console.json) {
    print_json(console, store::shown_keys(*key, store::find_public_keys(settings.data)));
  } else {
    console.out << key->pem();
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
