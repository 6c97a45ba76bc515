#include "sojourn/server/journal_store.hpp"

#include <utility>

#include "sojourn/store/head_signature.hpp"

namespace sojourn::server {

Async<std::uint64_t> JournalStore::commit(store::Commit commit) {
  const bool over = commit.head.status != store::SessionStatus::active;
  if (over) commit.head.signature = store::sign_head(key_, commit.session_id, commit.head.chain);
  const std::string id = commit.session_id;
  const std::uint64_t version = co_await inner_.commit(std::move(commit));
  on_commit_(id, over);
  co_return version;
}

}  // namespace sojourn::server
