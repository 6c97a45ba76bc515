#include "sojourn/store/list_query.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "sojourn/base/json.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

bool has_labels(const SessionRecord& record, const std::map<std::string, std::string>& wanted) {
  if (wanted.empty()) return true;
  const JsonObject labels = parse_json_object(record.labels);
  return std::ranges::all_of(wanted, [&](const auto& label) {
    const Json* value = labels.if_contains(label.first);
    return value != nullptr && value->is_string() && value->get_string() == label.second;
  });
}

}  // namespace

ListPlace read_cursor(std::string_view cursor) {
  if (cursor.empty()) return {};
  std::int64_t time = 0;
  std::int64_t row = 0;
  const char* const end = cursor.data() + cursor.size();
  const auto [dot, no_time] = std::from_chars(cursor.data(), end, time);
  if (no_time != std::errc() || dot == end || *dot != '.') throw cursor_unknown();
  const auto [rest, no_row] = std::from_chars(dot + 1, end, row);
  if (no_row != std::errc() || rest != end || row <= 0) throw cursor_unknown();
  const ListPlace place{Time(Microseconds(time)), row};
  // Only as it is written: no zeros before the digits.
  if (cursor_text(place) != cursor) throw cursor_unknown();
  return place;
}

std::string cursor_text(const ListPlace& place) {
  return fmt::format("{}.{}", place.created_at.time_since_epoch().count(), place.row);
}

bool fits_query(const SessionRecord& record, const SessionQuery& query) {
  return (!query.status || record.head.status == *query.status) &&
         (query.stage.empty() || record.head.stage == query.stage) &&
         (query.app.empty() || record.app == query.app) &&     //
         (query.user.empty() || record.user == query.user) &&  //
         (!query.created_from || record.created_at >= *query.created_from) &&
         (!query.created_before || record.created_at < *query.created_before) &&
         (!query.ended_before || (record.head.ended_at && *record.head.ended_at < *query.ended_before)) &&
         !query.other_apps.contains(record.app) &&  //
         record.id.find(query.id_text) != std::string::npos && has_labels(record, query.labels);
}

}  // namespace sojourn::store
