#include "sojourn/base/ids.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}

}  // namespace

std::string new_session_id(Time now, Random& random) {
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(now - day);
  return fmt::format("sess_{:04}{:02}{:02}_{:02}{:02}{:02}_{}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), random.hex(3));
}

bool is_session_id(std::string_view id) {
  constexpr std::string_view shape = "sess_dddddddd_dddddd_xxxxxx";
  return std::ranges::equal(id, shape, [](char c, char expected) {
    return expected == 'd' ? is_digit(c) : expected == 'x' ? is_hex(c) : c == expected;
  });
}

std::string new_task_id(Time now, Random& random) {
  const auto milliseconds = std::chrono::floor<Milliseconds>(now).time_since_epoch().count();
  return fmt::format("task_{:012x}{}", milliseconds & 0xFFFFFFFFFFFF, random.hex(7));
}

bool is_task_id(std::string_view id) {
  constexpr std::size_t digits = 26;
  return id.starts_with("task_") && id.size() == 5 + digits && std::ranges::all_of(id.substr(5), is_hex);
}

}  // namespace sojourn
