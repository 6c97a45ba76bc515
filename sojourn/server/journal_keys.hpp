#pragma once

#include "sojourn/base/ed25519.hpp"
#include "sojourn/store/artifact_store.hpp"
#include "sojourn/store/head_signature.hpp"

namespace sojourn::server {

// What a server signs journals and archives with. Lifetime: that of the server.
struct JournalKeys {
  const SigningKey& key;
  const store::PublicKeys all;  // that there ever were
  const store::ArtifactStore artifacts;
};

}  // namespace sojourn::server
