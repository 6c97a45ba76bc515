#pragma once

#include <string>
#include <unordered_map>

#include "sojourn/base/event.hpp"

namespace sojourn::server {

// Wakes those who follow a session's journal when it has new events.
// Threads: one executor.
class JournalFollowers {
 public:
  // One who follows. What comes between two waits is not missed: the second returns at once.
  class Follower {
   public:
    Follower(JournalFollowers& all, std::string session_id);
    ~Follower();
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    // True when there may be new events since the last wait, false at `deadline`.
    // Errors: unavailable once the followers were closed. Cancel: as Event::wait().
    Async<bool> wait(Clock& clock, Instant deadline);

   private:
    friend class JournalFollowers;

    JournalFollowers& all_;
    const std::string session_id_;
    Event event_;
    bool woken_ = false;
  };

  void wake(const std::string& session_id);

  // Ends all waits, also those to come.
  void close();

 private:
  std::unordered_multimap<std::string, Follower*> followers_;  // by session
  bool closed_ = false;
};

}  // namespace sojourn::server
