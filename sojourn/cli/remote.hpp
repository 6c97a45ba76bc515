#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "sojourn/base/json.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/cli/settings.hpp"
#include "sojourn/http/client.hpp"

// The server that a command talks to, seen from a program that waits for each answer.
namespace sojourn::cli {

class Remote {
 public:
  explicit Remote(const Settings& settings);

  struct Answer {
    Json body;         // null where the answer has none
    std::string next;  // target of the next page; "" on the last
  };

  // Sends one request and waits for its answer.
  // Errors: connection_failed (also for an answer that is not Sojourn's), call_timeout past the setting `timeout`,
  //         too_large; whatever error the server answers with.
  Answer get(std::string target);
  Answer post(std::string target, const JsonObject& body = {});
  Answer del(std::string target);

 private:
  Answer send(http::Request request);

  const Settings& settings_;
  SystemClock clock_;
  Loop loop_;
  http::Client client_;
};

// `text` as one segment of a path, percent-encoded.
std::string path_segment(std::string_view text);

// What a Link header calls the next page, as a target on the same server; "" for none.
std::string next_page(std::string_view link);

// The field of `object` as people read it: texts as they are, other values as JSON, "" for null, for a missing field
// and for what is no object at all.
std::string field(const Json& object, std::string_view name);

}  // namespace sojourn::cli
