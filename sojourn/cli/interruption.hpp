#pragma once

#include <signal.h>

#include <functional>
#include <thread>

#include "sojourn/base/descriptor.hpp"

namespace sojourn::cli {

// Ctrl-C while a command waits for a server: what was asked goes on there, so the person is told of it before the
// command dies of the signal, as it would have.
// Threads: made before the command starts any other, so that none of them takes the signal.
class Interruption {
 public:
  // `tell` runs on a thread of its own when SIGINT comes while this lives; its errors are dropped. A second SIGINT
  // ends the process at once. Where SIGINT is ignored it stays so.
  explicit Interruption(std::function<void()> tell);
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

 private:
  void watch();

  std::function<void()> tell_;
  ::sigset_t interrupt_{};
  Descriptor signals_;
  Descriptor ended_;
  std::thread thread_;
};

}  // namespace sojourn::cli
