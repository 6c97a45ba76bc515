#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/artifact_store.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/store.hpp"

// How long sessions are kept once they are over.
namespace sojourn::server {

struct RetentionRules {
  std::optional<Seconds> age;                          // after the end, of each app that is not named; none: for ever
  std::map<std::string, std::optional<Seconds>> apps;  // of these apps; none: for ever
  std::uint64_t bytes = 0;  // of all sessions together: past that the oldest go that are over and not kept for ever;
                            // 0: any

  bool keeps_all() const;
};

// "90s", "45m", "12h", "30d" or "8w". Errors: invalid_request.
Seconds parse_age(std::string_view text);

// "AGE", "APP=AGE" and "APP=never", with commas between them. Errors: invalid_request.
RetentionRules parse_retention(std::string_view text);

// "500MB", "20GB", "2TB" (powers of 1000), or a number of bytes. Errors: invalid_request.
std::uint64_t parse_size(std::string_view text);

// Removes what the rules do not keep, when the server starts and then every hour. Never a session that is active or
// owes a webhook. What an interrupted round left half done the next one ends.
//
// Threads: one executor.
class Retention {
 public:
  // `stored_bytes` is what the store takes up, without what is free in its file.
  Retention(Executor executor, store::Store& store, const std::filesystem::path& data, store::SessionFolders folders,
            Clock& clock, const Log& log, RetentionRules rules, std::function<Async<std::uint64_t>()> stored_bytes);

  void start();

  // One round. Errors: those of the store and its folders.
  Async<std::uint64_t> apply();

  // Lets the session that is just being removed go, and stops. Idempotent.
  Async<void> close();

 private:
  Async<void> run();
  Async<std::uint64_t> purge(store::SessionQuery query, std::uint64_t most = UINT64_MAX,
                             std::uint64_t* place = nullptr);
  Async<void> remove_folder(std::string session_id);
  Async<std::uint64_t> purge_to_size();
  Async<std::uint64_t> bytes();

  store::Store& store_;
  const store::SessionFolders folders_;
  const store::ArtifactStore artifacts_;
  Clock& clock_;
  const Log& log_;
  const RetentionRules rules_;
  const std::function<Async<std::uint64_t>()> stored_bytes_;
  bool closing_ = false;
  Event woken_;
  BlockingPool blocking_;
  TaskGroup group_;
};

}  // namespace sojourn::server
