#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sojourn/http/message.hpp"

// A session's version as HTTP says it: the entity tag "7", quotes included (RFC 9110, 8.8.3 and 13.1.1).
namespace sojourn::server {

std::string etag_of(std::uint64_t version);

// The version that If-Match asks for; nothing without the header, and for "*".
// Errors: invalid_request for what is no single tag of ours.
std::optional<std::uint64_t> expected_version(const http::Request& request);

}  // namespace sojourn::server
