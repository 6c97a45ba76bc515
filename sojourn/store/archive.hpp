#pragma once

#include <functional>
#include <string>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/store/artifact_store.hpp"
#include "sojourn/store/tar.hpp"
#include "sojourn/store/verify.hpp"

// One session as one file, which proves itself on another machine to whoever has the server's public key
// (docs/formats/archive.md).
//
// It is a tar archive: session.json, events/, state/, tasks/, artifacts/, keys/, then manifest.json with the hash of
// each of these, and manifest.sig, the server's signature over that.
namespace sojourn::store {

// What an archive is made with. Lifetime: until it is written.
struct ArchiveParts {
  const SigningKey& key;  // signs it
  PublicKeys keys = {};   // all that the server ever had; where one of them signed the session's end,
                          // its public half comes along
  const ArtifactStore* artifacts = nullptr;  // null: there are none
  // Runs what blocks, which is reading artefacts, where it may; null: here.
  std::function<Async<void>(std::function<void()> work)> blocking = {};
};

// Writes the archive of a session as it stands, piece by piece, and returns what verify() would find wrong with it:
// what is broken is archived as it is, and what is missing of the artefacts left out. It may go on being served
// meanwhile.
// Errors: session_not_found; those of the store, and of `sink`. What was written is no archive then.
// Cost:   a few MiB of memory at a time, besides the session's state.
Async<VerifyReport> write_archive(Store& store, std::string session_id, ArchiveParts parts, Time now,
                                  std::function<Async<void>(std::string piece)> sink);

// Reads an archive and verifies all that it holds. Whatever was changed in it, if only a byte, is a finding.
// Errors: none: what cannot be read is a finding too. Blocks where `source` does. Cost: as verify().
VerifyReport verify_archive(tar::Reader::Source source, const PublicKeys& keys);

}  // namespace sojourn::store
