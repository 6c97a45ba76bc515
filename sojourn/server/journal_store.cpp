#include "sojourn/server/journal_store.hpp"

#include <algorithm>
#include <utility>

#include "sojourn/store/head_signature.hpp"

namespace sojourn::server {

namespace {

// Its type stands in an event's text as it is; who finds it within the data too has written a file once too often.
bool is_told_of(const store::Event& event) {
  return event.body.find(R"("type":"session.stage")") != std::string::npos ||
         event.body.find(R"("type":"worker.started")") != std::string::npos;
}

bool changes_metadata(const store::Commit& commit) {
  const auto is_completed = [](const store::StepRecord& step) { return step.status == store::StepStatus::completed; };
  return commit.head.status != store::SessionStatus::active || std::ranges::any_of(commit.steps, is_completed) ||
         std::ranges::any_of(commit.events, is_told_of);
}

}  // namespace

Async<std::uint64_t> JournalStore::commit(store::Commit commit) {
  const bool metadata_changed = changes_metadata(commit);
  const bool over = commit.head.status != store::SessionStatus::active;
  if (over) commit.head.signature = store::sign_head(key_, commit.session_id, commit.head.chain);
  const std::string id = commit.session_id;
  const std::uint64_t version = co_await inner_.commit(std::move(commit));
  on_commit_(id, metadata_changed);
  co_return version;
}

}  // namespace sojourn::server
