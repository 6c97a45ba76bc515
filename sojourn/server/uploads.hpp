#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/loop.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/server/file_store.hpp"

// Files on their way in: announced first, then sent to an address that holds a secret, which dies with the upload.
namespace sojourn::server {

// What a client says of a file before it sends it.
struct Announcement {
  std::string name;
  std::string content_type;           // "": as the upload says
  std::string path;                   // the client's own word, handed back
  std::optional<std::uint64_t> size;  // the upload must have it
};

// Reads the body of POST /files. Errors: invalid_json; invalid_request naming the field; too_large.
std::vector<Announcement> read_announcements(std::string_view body);

// Announced files are known to this process only: an upload that a restart cuts off is announced again.
// Threads: one executor.
class Uploads {
 public:
  struct Ticket {
    std::string id;
    std::string token;
    Time expires_at{};
  };

  Uploads(const FileStore& store, Clock& clock, Random& random, BlockingPool& blocking)
      : store_(store), clock_(clock), random_(random), blocking_(blocking) {}

  // Errors: queue_full when as many uploads of `owner` wait already as one may have, unavailable when as many of all.
  Ticket announce(Announcement announcement, std::string owner);

  // Takes the body of `request`, piece by piece, and keeps it.
  // Errors: not_found for an unknown or late upload or a wrong token, already_exists for one that is over, conflict
  //         for one that runs, queue_full, unavailable, invalid_request for another size, too_large, store_full,
  //         io_error, and those of Responder::read(). Nothing is left of the file then; it may be tried again in its
  //         time.
  // Durable: when it returns.
  Async<FileInfo> receive(std::string id, std::string token, const http::Request& request,
                          http::Responder& responder);

 private:
  struct Upload {
    Announcement announced;
    std::string owner;
    Hash token;
    Instant deadline;
    std::list<std::string>::iterator place;  // in by_age_
    bool runs = false;
  };

  // What one owner has of the places for all.
  struct Share {
    std::size_t waiting = 0;  // those that run among them
    std::size_t running = 0;
  };

  class Running;
  using Waiting = std::map<std::string, std::shared_ptr<Upload>, std::less<>>;

  void forget(Waiting::iterator upload);
  void forget_late();
  Async<std::shared_ptr<Upload>> find(std::string id, std::string token);
  Async<FileInfo> store_body(std::string id, std::shared_ptr<Upload> upload, std::string content_type,
                             http::Responder& responder);
  Async<void> write_body(FileStore::Incoming& incoming, std::shared_ptr<Upload> upload, http::Responder& responder);

  const FileStore& store_;
  Clock& clock_;
  Random& random_;
  BlockingPool& blocking_;
  Waiting uploads_;                      // shared with receive()
  std::map<std::string, Share> shares_;  // of each owner that ever announced one: there are no more than keys
  std::list<std::string> by_age_;        // the ids of uploads_
  std::size_t running_ = 0;
};

}  // namespace sojourn::server
