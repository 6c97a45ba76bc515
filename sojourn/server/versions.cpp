#include "sojourn/server/versions.hpp"

#include <fmt/format.h>

#include <charconv>

#include "sojourn/base/error.hpp"

namespace sojourn::server {

std::string etag_of(std::uint64_t version) {
  return fmt::format("\"{}\"", version);
}

std::optional<std::uint64_t> expected_version(const http::Request& request) {
  const auto tag = request.headers.find("If-Match");
  if (!tag || *tag == "*") return std::nullopt;
  std::uint64_t version = 0;
  if (tag->size() > 2 && tag->front() == '"' && tag->back() == '"') {
    const auto [end, error] = std::from_chars(tag->data() + 1, tag->data() + tag->size() - 1, version);
    if (error == std::errc() && end == tag->data() + tag->size() - 1) return version;
  }
  throw Error(ErrorCode::invalid_request,
              R"(If-Match takes "*" or one ETag of the session: its version in quotes, such as "7")",
              {{"field", "If-Match"}});
}

}  // namespace sojourn::server
