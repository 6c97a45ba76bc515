#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/sha256.hpp"

// What messages are signed with, and signatures written as.
namespace sojourn {

// HMAC-SHA256 (RFC 2104). Threads: safe.
Hash hmac_sha256(std::string_view key, std::string_view message);

// Base64 (RFC 4648) with padding.
std::string to_base64(std::string_view bytes);

// The bytes that it stands for; nothing where it is none.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace sojourn
