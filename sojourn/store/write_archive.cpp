#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/archive.hpp"
#include "sojourn/store/archive_format.hpp"
#include "sojourn/store/journal_verifier.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

constexpr std::size_t file_bytes = limits::mebibyte;  // from there on, lines go into another file
constexpr std::size_t events_at_once = 256;
constexpr std::size_t tasks_at_once = 8;

class ArchiveWriter {
 public:
  ArchiveWriter(Store& store, SessionRecord record, ArchiveParts parts, std::function<Async<void>(std::string)> sink)
      : store_(store),
        record_(std::move(record)),
        parts_(std::move(parts)),
        verifier_(record_.id),
        sink_(std::move(sink)) {}

  Async<void> add_session() { co_await add(archive::session_file, archive::session_text(record_)); }

  Async<void> add_events() {
    const std::uint64_t newest = record_.head.chain.seq;
    bool more = true;
    for (std::uint64_t from = 1; more && from <= newest;) {
      const std::vector<Event> events = co_await store_.events(record_.id, from, events_at_once);
      more = events.size() == events_at_once;
      for (const Event& event : events) {
        from = event.seq + 1;
        if (event.seq > newest) break;
        verifier_.check_event(event);
        co_await add_line(archive::events_folder, archive::event_line(event));
      }
    }
    co_await end_lines(archive::events_folder);
    verifier_.check_head(record_.head.chain);
  }

  Async<void> add_state(const std::map<std::string, JsonText>& state) {
    verifier_.check_state(state);
    for (const auto& [key, value] : state) co_await add_line(archive::state_folder, archive::state_line(key, value));
    co_await end_lines(archive::state_folder);
  }

  // Those that are over, but for what ended since the session was read, of which its events do not tell.
  Async<void> add_tasks() {
    std::vector<std::string> untold;
    for (std::uint64_t from = 0;;) {
      const std::vector<TaskRecord> tasks = co_await store_.tasks(record_.id, from, tasks_at_once);
      for (const TaskRecord& task : tasks) {
        const auto told = verifier_.other_calls().status_of(task.id);
        if (!told && is_final(task.status)) untold.push_back(task.id);
        if (told && is_final(*told)) co_await add_task(task);
      }
      if (tasks.size() < tasks_at_once) break;
      from = tasks.back().seq + 1;
    }
    if (!untold.empty()) {
      const ToldCalls later = co_await read_later_calls();
      std::erase_if(untold, [&](const std::string& task) { return later.status_of(task).has_value(); });
    }
    for (const std::string& id : untold) {
      if (const std::optional<TaskRecord> task = co_await store_.task(id)) co_await add_task(*task);
    }
    co_await end_lines(archive::tasks_folder);
    verifier_.add_missing_ended_tasks();
  }

  Async<void> add_artifacts() {
    if (parts_.artifacts == nullptr) co_return;
    std::map<std::string, std::optional<std::string>> found;
    for (const std::string& hash : verifier_.contents()) {
      co_await block([&] { found[hash] = parts_.artifacts->hash(record_.id, hash); });
    }
    verifier_.check_contents([&](const std::string& hash) { return found.at(hash); });
    for (const auto& [hash, content] : found) {
      if (content == hash) co_await add_content(hash);
    }
  }

  Async<VerifyReport> seal(Time now) {
    PublicKeys& keys = parts_.keys;
    const std::string own = parts_.key.public_key().id();
    const auto earlier = keys.find(key_of(record_.head.signature));
    if (earlier != keys.end() && earlier->first != own) {
      co_await add(fmt::format("{}{}.pem", archive::keys_folder, earlier->first), earlier->second.pem());
    }
    keys.emplace(own, parts_.key.public_key());
    const std::string manifest = archive::manifest_text(record_.id, format_time(now), files_);
    co_await add(archive::manifest_file, manifest);
    co_await add(archive::signature_file, archive::sign_manifest(parts_.key, manifest));
    co_await sink_(tar::end());
    verifier_.check_record(record_, keys);
    co_return verifier_.take();
  }

 private:
  Async<void> add_task(const TaskRecord& task) {
    verifier_.check_task(TaskNote(task));
    co_await add_line(archive::tasks_folder, archive::task_line(task));
  }

  // Calls of which events tell that are newer than the archive.
  Async<ToldCalls> read_later_calls() {
    ToldCalls calls;
    for (std::uint64_t from = record_.head.chain.seq + 1;;) {
      const std::vector<Event> events = co_await store_.events(record_.id, from, events_at_once);
      for (const Event& event : events) {
        const JsonObject body = parse_json_object(event.body, {.depth = limits::json_depth + 2});
        const std::string type(body.at("type").as_string());
        if (type.starts_with("call.")) calls.take(event.seq, type, body.at("data").as_object());
        from = event.seq + 1;
      }
      if (events.size() < events_at_once) co_return calls;
    }
  }

  Async<void> add(std::string path, std::string content) {
    const std::uint64_t size = content.size();
    files_.push_back({.path = path, .size = size, .sha256 = to_hex(sha256(content))});
    std::string piece = tar::head(fmt::format("{}/{}", record_.id, path), size);
    piece.append(content).append(tar::padding(size));
    co_await sink_(std::move(piece));
  }

  Async<void> block(std::function<void()> work) {
    if (parts_.blocking) {
      co_await parts_.blocking(std::move(work));
    } else {
      work();
    }
  }

  // Piece by piece, for it may be large. Its hash was looked at just before.
  Async<void> add_content(std::string hash) {
    Descriptor file;
    std::uint64_t size = 0;
    co_await block([&] {
      file = parts_.artifacts->content(record_.id, hash);
      size = static_cast<std::uint64_t>(::lseek(file.get(), 0, SEEK_END));
    });
    const std::string path = archive::artifacts_folder + hash;
    files_.push_back({.path = path, .size = size, .sha256 = hash});
    co_await sink_(tar::head(fmt::format("{}/{}", record_.id, path), size));
    for (std::uint64_t at = 0; at < size;) {
      std::string piece(std::min<std::uint64_t>(file_bytes, size - at), '\0');
      co_await block([&] {
        const ::ssize_t got = ::pread(file.get(), piece.data(), piece.size(), static_cast<::off_t>(at));
        if (got <= 0) throw io_error("cannot read artefact " + hash, got < 0 ? errno : EIO);
        piece.resize(static_cast<std::size_t>(got));
      });
      at += piece.size();
      co_await sink_(std::move(piece));
    }
    co_await sink_(tar::padding(size));
  }

  Async<void> add_line(const char* folder, std::string line) {
    lines_ += line;
    if (lines_.size() >= file_bytes) co_await end_lines(folder, true);
  }

  Async<void> end_lines(const char* folder, bool more = false) {
    if (!lines_.empty()) {
      co_await add(fmt::format("{}{:06}.ndjson", folder, ++number_), std::exchange(lines_, {}));
    }
    if (!more) number_ = 0;
  }

  Store& store_;
  const SessionRecord record_;
  ArchiveParts parts_;
  JournalVerifier verifier_;
  std::function<Async<void>(std::string)> sink_;
  std::vector<archive::File> files_;
  std::string lines_;         // of the file that is begun
  std::uint64_t number_ = 0;  // of the last file of this folder
};

}  // namespace

Async<VerifyReport> write_archive(Store& store, std::string session_id, ArchiveParts parts, Time now,
                                  std::function<Async<void>(std::string piece)> sink) {
  const std::optional<Snapshot> snapshot = co_await store.load(session_id);
  if (!snapshot) throw session_unknown(session_id);
  ArchiveWriter writer(store, snapshot->record, std::move(parts), std::move(sink));
  co_await writer.add_session();
  co_await writer.add_events();
  co_await writer.add_state(snapshot->state);
  co_await writer.add_tasks();
  co_await writer.add_artifacts();
  co_return co_await writer.seal(now);
}

}  // namespace sojourn::store
