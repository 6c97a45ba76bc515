#pragma once

#include <set>
#include <string>

#include "sojourn/session/app.hpp"

// The images that a session was called with: each is the session's, from before the algorithm sees it until it is
// released, and the server removes it where this process dies.
namespace sojourn::steps {

// Threads: that of the session.
class SessionImages {
 public:
  explicit SessionImages(session::WorkerEvents& events) : events_(events) {}

  // Takes an image over; one that is held already stays so, and what is no id of an image is left alone.
  // Durable: when it returns. Errors: those of the commit that records it; it is its maker's still.
  Async<void> take(std::string id);

  // Removes all but those of `ids`. Errors: those of release_all().
  void release_all_but(const std::set<std::string>& ids);

  // Removes them all. What is still held when this is destroyed is the server's to remove.
  // Errors: io_error for the last that could not be removed; all were tried, and none is held any more.
  void release_all() { release_all_but({}); }

 private:
  session::WorkerEvents& events_;
  std::set<std::string> held_;
};

}  // namespace sojourn::steps
