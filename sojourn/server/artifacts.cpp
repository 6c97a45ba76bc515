#include "sojourn/server/artifacts.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/server/counted.hpp"
#include "sojourn/server/file_store.hpp"
#include "sojourn/server/files.hpp"
#include "sojourn/store/artifact_folder.hpp"
#include "sojourn/store/artifact_path.hpp"

namespace sojourn::server {

namespace {

constexpr unsigned file_threads = 2;
constexpr std::size_t most_known = 256;
constexpr std::size_t most_running = 64;
constexpr std::size_t write_bytes = 256 * limits::kibibyte;

Error no_such_artifact(std::string_view session_id, std::string_view path) {
  return Error(ErrorCode::not_found, fmt::format("session {} has no artefact '{}'", session_id, path));
}

void write_event(session::Draft& draft, const store::Artifact& artifact, const std::string& actor) {
  draft.step.events.push_back({.type = std::string(store::artifact_event),
                               .actor = actor,
                               .data = to_text(artifact.event_data()),
                               .time = draft.now});
}

}  // namespace

Artifacts::Artifacts(runtime::Runtime& runtime, store::Store& store, const std::filesystem::path& data,
                     store::SessionFolders folders, const Log& log)
    : runtime_(runtime),
      store_(store),
      contents_(data),
      folders_(std::move(folders)),
      log_(log),
      blocking_(file_threads) {}

void Artifacts::start() {
  contents_.open();
}

Async<Artifacts::Stored> Artifacts::receive(std::string session_id, std::string path, std::string actor,
                                            const http::Request& request, http::Responder& responder) {
  if (running_ >= most_running) {
    throw Error(ErrorCode::unavailable,
                fmt::format("{} uploads of artefacts run already, the most allowed", most_running));
  }
  const Counted running(running_);
  co_await check(session_id, path);
  store::Artifact artifact{.path = path};
  artifact.content_type = request.headers.find("Content-Type").value_or("application/octet-stream");
  check_content_type(artifact.content_type);
  std::unique_ptr<store::ArtifactStore::Incoming> incoming;
  std::exception_ptr failure;
  std::optional<Stored> stored;
  try {
    incoming = co_await take_body(session_id, request, responder);
    stored = co_await keep(std::move(session_id), std::move(artifact), std::move(actor), *incoming);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await blocking_.run([&] { incoming.reset(); });
  if (failure) std::rethrow_exception(failure);
  co_return std::move(*stored);
}

// Before a body is read for nothing. All of it is looked at again when the body is there.
Async<void> Artifacts::check(std::string session_id, std::string path) {
  const std::vector<std::string> names = store::split_artifact_path(path);
  const runtime::SessionView view = co_await runtime_.session(session_id);
  // One that is over takes no entry, and says why.
  if (view.record.head.status != store::SessionStatus::active) {
    co_await runtime_.append(session_id, {.write = [](session::Draft&) {}});
  }
  const std::shared_ptr<Known> known = known_of(session_id);
  {
    const AsyncMutex::Turn turn = co_await known->turn.take();
    co_await bring_up_to_date(*known, session_id);
    known->manifest.check_new(path);
  }
  co_await blocking_.run([&] { store::check_place(folders_.path_of(session_id), names); });
}

Async<std::unique_ptr<store::ArtifactStore::Incoming>> Artifacts::take_body(std::string session_id,
                                                                            const http::Request& request,
                                                                            http::Responder& responder) {
  auto incoming =
      co_await blocking_.run([&] { return std::make_unique<store::ArtifactStore::Incoming>(contents_, session_id); });
  std::string gathered = request.body;
  std::exception_ptr failure;
  try {
    for (bool ended = !gathered.empty(); !ended;) {
      const std::string piece = co_await responder.read();
      ended = piece.empty();
      gathered += piece;
      if (gathered.size() < write_bytes && !ended) continue;
      co_await blocking_.run([&] { incoming->write(gathered); });
      gathered.clear();
    }
    if (!gathered.empty()) co_await blocking_.run([&] { incoming->write(gathered); });
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    co_await blocking_.run([&] { incoming.reset(); });
    std::rethrow_exception(failure);
  }
  co_return incoming;
}

Async<Artifacts::Stored> Artifacts::keep(std::string session_id, store::Artifact artifact, std::string actor,
                                         store::ArtifactStore::Incoming& incoming) {
  const std::shared_ptr<Known> known = known_of(session_id);
  // One at a time of a session, so that attempts have their numbers and the folder has the newest.
  const AsyncMutex::Turn turn = co_await known->turn.take();
  co_await bring_up_to_date(*known, session_id);
  known->manifest.check_new(artifact.path);
  artifact.size = incoming.size();
  artifact.sha256 = co_await blocking_.run([&] { return incoming.commit(); });
  const store::Artifact* newest = known->manifest.find(artifact.path);
  const bool is_new = newest == nullptr || newest->sha256 != artifact.sha256;
  if (is_new) {
    artifact.attempt = newest == nullptr ? 1 : newest->attempt + 1;
    session::Entry entry{.bytes = artifact.path.size() + artifact.content_type.size()};
    entry.write = [&artifact, &actor](session::Draft& draft) { write_event(draft, artifact, actor); };
    co_await runtime_.append(session_id, std::move(entry));
    co_await bring_up_to_date(*known, session_id);
  }
  const store::Artifact kept = *known->manifest.find(artifact.path);
  co_await place(session_id, kept);
  co_return Stored{kept, is_new};
}

// The journal has it by now: a folder that cannot be written is the next rebuild's.
Async<void> Artifacts::place(std::string session_id, store::Artifact artifact) {
  const store::SessionRecord record = (co_await runtime_.session(session_id)).record;
  const store::StepSummary steps = co_await store_.step_summary(session_id);
  std::string failure;
  try {
    co_await blocking_.run([&] {
      // A folder that is made for the artefact begins with what every session's folder has.
      if (store::read_folder(folders_, session_id).head.seq == 0) folders_.write_metadata(record, steps);
      store::place(contents_, session_id, artifact.sha256, folders_.create(session_id),
                   store::split_artifact_path(artifact.path));
    });
  } catch (const std::exception& error) {
    failure = to_valid_utf8(error.what());
  }
  if (failure.empty()) co_return;
  log_.warning("an artefact is kept, but could not be put into its session's folder",
               {{"session", session_id}, {"path", to_valid_utf8(artifact.path)}, {"error", failure}});
}

Async<store::Manifest> Artifacts::manifest(std::string session_id) {
  co_await runtime_.session(session_id);
  const std::shared_ptr<Known> known = known_of(session_id);
  const AsyncMutex::Turn turn = co_await known->turn.take();
  co_await bring_up_to_date(*known, session_id);
  co_return known->manifest;
}

Async<void> Artifacts::send(std::string session_id, std::string path, std::optional<std::uint64_t> attempt,
                            const http::Request& request, http::Responder& responder) {
  const std::vector<std::string> names = store::split_artifact_path(path);
  const store::Manifest all = co_await manifest(session_id);
  const store::Artifact* found = all.find(path, attempt);
  if (found == nullptr) throw no_such_artifact(session_id, path);
  const FileInfo file{
      .name = names.back(), .content_type = found->content_type, .size = found->size, .sha256 = found->sha256};
  const std::filesystem::path content = contents_.path_of(session_id, found->sha256);
  co_await send_file(file, content, blocking_, request, responder);
}

std::shared_ptr<Artifacts::Known> Artifacts::known_of(const std::string& session_id) {
  if (known_.size() >= most_known)
    std::erase_if(known_, [](const auto& entry) { return entry.second.use_count() == 1; });
  std::shared_ptr<Known>& known = known_[session_id];
  if (!known) known = std::make_shared<Known>();
  return known;
}

Async<void> Artifacts::bring_up_to_date(Known& known, std::string session_id) {
  known.next = co_await store::read_manifest(store_, std::move(session_id), known.next, known.manifest);
}

}  // namespace sojourn::server
