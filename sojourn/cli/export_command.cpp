#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/stored.hpp"
#include "sojourn/cli/whole_file.hpp"
#include "sojourn/store/archive.hpp"
#include "sojourn/store/folder_lock.hpp"
#include "sojourn/store/journal_key.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

Async<void> append(WholeFile& file, std::string piece) {
  file.write(piece);
  co_return;
}

Async<void> write(store::Store& store, std::string session, const fs::path& data, fs::path path,
                  store::VerifyReport& report) {
  const SigningKey key = store::read_journal_key(data);
  const store::ArtifactStore artifacts(data);
  WholeFile file(path);
  const store::ArchiveParts parts{.key = key, .keys = store::find_public_keys(data), .artifacts = &artifacts};
  report = co_await store::write_archive(store, session, parts, SystemClock().now(),
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
  if (!store::had_a_journal_key(data)) {
    throw Error(ErrorCode::config_invalid,
                fmt::format("there is no key in {} (data: {}): a server makes it when it first starts",
                            settings.data.string(), settings.value("data").source));
  }
  if (options.rotate) {
    const store::FolderLock lock(data);
    console.err << "journals are signed by " << store::rotate_journal_key(data).id() << " from now on\n";
  }
  std::optional<PublicKey> key = store::find_public_key(data);
  if (!key) key = store::read_journal_key(data).public_key();
  if (console.json) {
    print_json(console, store::shown_keys(*key, store::find_public_keys(settings.data)));
  } else {
    console.out << key->pem();
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
