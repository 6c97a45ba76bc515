#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/http/message.hpp"

// What the query of a target says.
namespace sojourn::server {

constexpr std::size_t default_page = 100;
constexpr std::size_t largest_page = 1'000;

// The whole number of a field. Errors: invalid_request for what is none of 1 to `most`.
std::uint64_t whole_number(const http::Target& target, std::string_view field, std::uint64_t fallback,
                           std::uint64_t most);

// The time of a field; nothing where there is none. Errors: invalid_request for what is no time.
std::optional<Time> time_of(const http::Target& target, std::string_view field);

// The value of a Link header that names the same list, but with this value of `field`.
std::string next_page(std::string_view path, const http::Target& target, std::string_view field,
                      std::string_view value);

}  // namespace sojourn::server
