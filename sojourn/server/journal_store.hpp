#pragma once

#include <functional>
#include <string>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/store/forwarding_store.hpp"

namespace sojourn::server {

// A store as a server uses it: the head of a session that is over is signed in the commit that ends it, and who
// listens hears of each commit. All else is the store's.
//
// Threads: as the store; `on_commit` is called on the executor of whoever committed.
class JournalStore final : public store::ForwardingStore {
 public:
  // `on_commit` is told the session, durably changed, and whether that changed what its folder's metadata tells: its
  // end, its stage, its completed steps; or a worker was started, for which the folder was made.
  JournalStore(store::Store& inner, const SigningKey& key,
               std::function<void(const std::string&, bool metadata_changed)> on_commit)
      : ForwardingStore(inner), key_(key), on_commit_(std::move(on_commit)) {}

  Async<std::uint64_t> commit(store::Commit commit) override;

 private:
  const SigningKey& key_;
  std::function<void(const std::string&, bool metadata_changed)> on_commit_;
};

}  // namespace sojourn::server
