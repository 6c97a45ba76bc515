#pragma once

#include <sys/types.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <string>

#include "sojourn/base/async.hpp"
#include "sojourn/base/json.hpp"

// The least that a warm Python process costs: one line of JSON there, one back, over a socket pair.
namespace sojourn::bench {

class BareWorker {
 public:
  // Starts `/usr/bin/python3 SCRIPT`. Errors: worker_start_failed.
  BareWorker(const Executor& executor, const std::string& script);
  ~BareWorker();  // ends the process and waits for it
  BareWorker(const BareWorker&) = delete;
  BareWorker& operator=(const BareWorker&) = delete;

  // One call at a time. Errors: worker_lost, invalid_json.
  Async<JsonObject> call(std::string line);

 private:
  boost::asio::local::stream_protocol::socket socket_;
  std::string received_;
  pid_t process_ = 0;
};

}  // namespace sojourn::bench
