#pragma once

#include <map>
#include <optional>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"

// What can be asked of a server, as values. Fields are those of docs/formats/http.md.
namespace sojourn::client {

struct CallOptions {
  std::optional<Seconds> call_timeout{};  // how long the call itself may take; else the app's
  std::optional<Milliseconds> timeout{};  // how long to wait for it; else the client's
  std::string idempotency_key{};          // "": the client makes one where it may ask again
};

// POST /apps/run.
struct RunRequest {
  std::string app{};       // may be left out with a session's id
  std::string function{};  // "" for the app's default
  Json input = nullptr;
  std::string session{};  // "new", an id, or "" for a session that ends with the call
  std::optional<Seconds> session_timeout{};
  JsonObject more{};  // any further fields
  CallOptions options{};
};

// POST /sessions.
struct NewSession {
  std::string app{};  // "" for a session of state and events only
  std::optional<Seconds> session_timeout{};
  std::optional<Seconds> lifetime{};
  JsonObject context{};
  Json setup = nullptr;
  std::map<std::string, std::string> labels{};
  JsonObject metadata{};
  std::string user_id{};
  bool warm = false;              // open its worker now, and wait for that
  std::string idempotency_key{};  // as of CallOptions
};

// GET /sessions; what is "" does not count.
struct SessionQuery {
  std::string status{};  // active, ended, expired or failed
  std::string app{};
  std::string user_id{};
  std::string stage{};
  std::map<std::string, std::string> labels{};
  std::string id{};              // a part of it
  std::string created_from{};    // a time with its zone; from then on
  std::string created_before{};  // before that
  std::size_t limit = 100;
};

struct FoundSessions {
  JsonArray sessions;     // newest first
  bool has_more = false;  // than the limit
};

// A file to upload.
struct NewFile {
  std::string name{};  // one name, without a folder; "" for none
  std::string bytes{};
  std::string content_type = "application/octet-stream";
};

// Bodies and targets of requests.
JsonObject body_of(const RunRequest& request);
JsonObject body_of(const NewSession& request);
std::string target_of(const SessionQuery& query);

// "/files/ID" of the `uri` of a file, which may be a whole URL. Errors: invalid_request.
std::string file_target(const std::string& uri);

}  // namespace sojourn::client
