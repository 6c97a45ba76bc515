#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sojourn/http/server.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/versions.hpp"
#include "sojourn/server/wire.hpp"

namespace sojourn::server {

// One request on its way to its answer: what a route's handler needs. Lives until the handler returns.
struct Api::Ask {
  const http::Request& request;
  http::Responder& responder;
  http::Target target;
  std::vector<std::string> captures;  // what stood where the route's pattern has braces
  Caller caller;
  bool bare = false;

  Async<void> answer(int status, std::string json) {
    return responder.send(data_response(bare, status, std::move(json)));
  }

  // A session or a part of it, which has that version.
  Async<void> answer_version(std::uint64_t version, std::string json, int status = 200) {
    http::Response response = data_response(bare, status, std::move(json));
    response.headers.add("ETag", etag_of(version));
    return responder.send(std::move(response));
  }
};

}  // namespace sojourn::server
