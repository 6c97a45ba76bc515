#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/artifact_store.hpp"
#include "sojourn/store/manifest.hpp"
#include "sojourn/store/session_folder.hpp"

namespace sojourn::server {

// Artefacts of sessions, in and out: files that their work leaves, by path in the session's folder, with every
// attempt of each kept.
//
// An upload is on the disk, then in the journal, and then in the folder. What a crash leaves between is content that
// no event names, or a folder that `sojourn audit rebuild` renews; what was answered is all three.
//
// Threads: one executor.
class Artifacts {
 public:
  Artifacts(runtime::Runtime& runtime, store::Store& store, const std::filesystem::path& data,
            store::SessionFolders folders, const Log& log);

  // Clears away what broke off. Errors: those of ArtifactStore::open().
  void start();

  // Takes a body in as the next attempt of an artefact; what the newest one holds already is not kept again.
  // Errors:  invalid_request and already_exists for the path (artifact_path.hpp, manifest.hpp, artifact_folder.hpp);
  //          too_large; unavailable past the uploads at once; those of Runtime::append(), of the disk and of
  //          `responder`. The journal has nothing of it then.
  // Durable: when it returns.
  struct Stored {
    store::Artifact artifact;
    bool is_new = true;
  };
  Async<Stored> receive(std::string session_id, std::string path, std::string actor, const http::Request& request,
                        http::Responder& responder);

  // Errors: session_not_found.
  Async<store::Manifest> manifest(std::string session_id);

  // Sends an attempt of an artefact, the newest if none is named.
  // Errors: session_not_found, not_found; those of send_file().
  Async<void> send(std::string session_id, std::string path, std::optional<std::uint64_t> attempt,
                   const http::Request& request, http::Responder& responder);

 private:
  // What is known of a session's journal.
  struct Known {
    AsyncMutex turn;
    store::Manifest manifest;
    std::uint64_t next = 1;  // event to look at
  };

  std::shared_ptr<Known> known_of(const std::string& session_id);  // shared with who works on it
  Async<void> bring_up_to_date(Known& known, std::string session_id);
  Async<void> check(std::string session_id, std::string path);
  Async<std::unique_ptr<store::ArtifactStore::Incoming>> take_body(std::string session_id,
                                                                   const http::Request& request,
                                                                   http::Responder& responder);
  Async<Stored> keep(std::string session_id, store::Artifact artifact, std::string actor,
                     store::ArtifactStore::Incoming& incoming);
  Async<void> place(std::string session_id, store::Artifact artifact);

  runtime::Runtime& runtime_;
  store::Store& store_;
  const store::ArtifactStore contents_;
  const store::SessionFolders folders_;
  const Log& log_;
  std::map<std::string, std::shared_ptr<Known>> known_;
  std::size_t running_ = 0;  // uploads
  BlockingPool blocking_;
};

}  // namespace sojourn::server
