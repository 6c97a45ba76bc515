#include <algorithm>
#include <iterator>

#include "sojourn/store/list_query.hpp"
#include "sojourn/store/memory_store.hpp"

// Lists of a memory store's sessions, and of their steps.
namespace sojourn::store {

Async<SessionPage> MemoryStore::list(SessionQuery query, std::string cursor, std::size_t limit) {
  const auto lock = enter();
  SessionPage page;
  const ListPlace start = read_cursor(cursor);
  ListPlace last;
  const auto before = by_age_.lower_bound({start.created_at, static_cast<Row>(start.row)});
  for (auto place = std::make_reverse_iterator(before); place != by_age_.rend(); ++place) {
    const SessionRecord& record = sessions_.at(place->second).record;
    if (!fits_query(record, query)) continue;
    if (page.sessions.size() == std::max<std::size_t>(limit, 1)) {
      page.next_cursor = cursor_text(last);
      break;
    }
    last = {place->first, static_cast<std::int64_t>(place->second)};
    page.sessions.push_back(record);
  }
  co_return page;
}

Async<std::uint64_t> MemoryStore::count(SessionQuery query) {
  const auto lock = enter();
  co_return static_cast<std::uint64_t>(
      std::ranges::count_if(sessions_, [&](const auto& entry) { return fits_query(entry.second.record, query); }));
}

Async<std::optional<std::string>> MemoryStore::cursor_after(SessionQuery query, std::uint64_t count) {
  const auto lock = enter();
  if (count == 0) co_return "";
  for (auto place = by_age_.rbegin(); place != by_age_.rend(); ++place) {
    if (!fits_query(sessions_.at(place->second).record, query) || --count > 0) continue;
    co_return cursor_text({place->first, static_cast<std::int64_t>(place->second)});
  }
  co_return std::nullopt;
}

Async<std::vector<StepRecord>> MemoryStore::steps(std::string session_id, std::uint64_t from_number,
                                                  std::size_t limit) {
  const auto lock = enter();
  std::vector<StepRecord> found;
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return found;
  for (auto step = stored->steps.lower_bound(from_number); step != stored->steps.end(); ++step) {
    if (found.size() == limit) break;
    found.push_back(step->second);
  }
  co_return found;
}

Async<std::vector<StepRecord>> MemoryStore::latest_attempts(std::string session_id, std::vector<std::string> names) {
  const auto lock = enter();
  std::vector<StepRecord> found;
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return found;
  std::map<std::string_view, std::uint64_t> newest;
  for (const auto& [number, step] : stored->steps) newest[step.name] = std::max(newest[step.name], step.attempt);
  for (const auto& [number, step] : stored->steps) {
    if (std::ranges::find(names, step.name) == names.end()) continue;
    if (step.status == StepStatus::running || step.attempt == newest[step.name]) found.push_back(step);
  }
  co_return found;
}

Async<StepSummary> MemoryStore::step_summary(std::string session_id) {
  const auto lock = enter();
  StepSummary summary;
  const Stored* stored = find_or_null(session_id);
  if (stored == nullptr) co_return summary;
  std::map<std::uint64_t, const StepRecord*> completed;
  for (const auto& [number, step] : stored->steps) {
    if (step.status == StepStatus::completed) completed.emplace(step.ended_seq, &step);
  }
  for (const auto& [seq, step] : completed) summary.add(step->name, step->duration);
  co_return summary;
}

}  // namespace sojourn::store
