#pragma once

#include <deque>
#include <string>

#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/store.hpp"

namespace sojourn::server {

// Brings session_metadata.json up to date in the folders of sessions that are over, behind the calls: the store is
// the truth, and who writes faster than the disk takes it leaves an older file, which `sojourn audit rebuild` renews.
//
// Threads: one executor.
class FolderWriter {
 public:
  FolderWriter(Executor executor, store::Store& store, store::SessionFolders folders, const Log& log);

  // Soon, if the session has a folder.
  void renew(std::string session_id);

  // Waits for those that are begun or wait. Idempotent.
  Async<void> close();

 private:
  Async<void> run();
  Async<void> write(std::string session_id);

  store::Store& store_;
  const store::SessionFolders folders_;
  const Log& log_;
  std::deque<std::string> waiting_;
  bool running_ = false;
  BlockingPool blocking_;
  TaskGroup group_;
};

}  // namespace sojourn::server
