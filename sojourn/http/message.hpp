#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"

// Requests and responses as values, without Beast's headers.
namespace sojourn::http {

enum class Method { get, head, post, put, patch, del, options, other };

std::string_view to_string(Method method);

// Whether the two are the same but for the case of ASCII letters, as field names are compared.
bool equal_without_case(std::string_view a, std::string_view b);

// Header fields in order; names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }

  // The first field of that name, or nothing.
  std::optional<std::string_view> find(std::string_view name) const;

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// The most bytes of a body that a server's handler reads piece by piece, by the request's method and target; nothing
// for one that is read whole before the handler is called.
using BodyStreams = std::function<std::optional<std::uint64_t>(Method method, std::string_view target)>;

struct Request {
  Method method = Method::get;
  std::string target;  // as sent: path and query, percent-encoded
  Headers headers;
  std::string body;
  bool keep_alive = true;
};

// A target taken apart and decoded.
struct Target {
  std::vector<std::string> path;  // segments, percent-decoded; "/a/b" is {"a", "b"}
  std::vector<std::pair<std::string, std::string>> query;

  std::optional<std::string_view> find(std::string_view key) const;
};

// Errors: invalid_request for broken percent-encoding, a NUL, broken UTF-8, a segment "." or "..", a slash within a
//         segment (%2F), or a target that is no absolute path.
Target parse_target(std::string_view target);

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;  // besides Content-Type, Content-Length, Connection, Date
};

}  // namespace sojourn::http
