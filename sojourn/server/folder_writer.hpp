#pragma once

#include <optional>
#include <set>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/store.hpp"

namespace sojourn::server {

// Brings session_metadata.json up to date in the folders of sessions that have moved on or are over, behind the
// calls: the store is the truth, and who writes faster than the disk takes it leaves an older file, which
// `sojourn audit rebuild` renews.
//
// However fast a session moves, its file is written at most once in `least_pause`, and writing takes at most about a
// tenth of one thread.
//
// Threads: one executor.
class FolderWriter {
 public:
  static constexpr Milliseconds least_pause{100};
  static constexpr Seconds longest_close{2};

  FolderWriter(Executor executor, store::Store& store, store::SessionFolders folders, Clock& clock, const Log& log);

  // Soon, if the session has a folder; once for all that is asked before that.
  void renew(std::string session_id);

  // Writes those that wait, without a pause, until that has taken `longest_close`; how many are left the log says.
  // Idempotent.
  Async<void> close();

 private:
  Async<void> run();
  Async<void> write(std::string session_id);

  store::Store& store_;
  const store::SessionFolders folders_;
  Clock& clock_;
  const Log& log_;
  std::set<std::string> waiting_;
  bool running_ = false;
  std::optional<Instant> close_by_;
  Event closed_;
  BlockingPool blocking_;
  TaskGroup group_;
};

}  // namespace sojourn::server
