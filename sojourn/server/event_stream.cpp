#include "sojourn/server/event_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/query.hpp"

namespace sojourn::server {

namespace {

constexpr std::size_t events_at_once = 100;
constexpr std::uint64_t most_looked_at = 10'000;  // for one page
constexpr std::size_t piece_bytes = 64 * limits::kibibyte;

std::string_view text_of(const JsonObject& object, std::string_view field) {
  const Json* value = object.if_contains(field);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

bool is_type(std::string_view type, std::string_view wanted) {
  if (!wanted.ends_with(".*")) return type == wanted;
  return type.starts_with(wanted.substr(0, wanted.size() - 1));
}

void append_line(std::string& out, StreamFormat format, std::string_view json, std::uint64_t seq = 0) {
  if (format == StreamFormat::ndjson) {
    out.append(json).append("\n");
    return;
  }
  if (seq > 0) out.append(fmt::format("id: {}\n", seq));
  out.append("data: ").append(json).append("\n\n");
}

bool is_over(const store::SessionHead& head) {
  return head.status != store::SessionStatus::active;
}

}  // namespace

bool EventFilter::takes(const store::Event& event) const {
  if (!is_set()) return true;
  try {
    const JsonObject body = parse_json_object(event.body, {.depth = limits::json_depth + 2});
    const std::string_view type = text_of(body, "type");
    if (!types.empty() &&
        std::ranges::none_of(types, [&](const std::string& wanted) { return is_type(type, wanted); })) {
      return false;
    }
    if (!since && !before) return true;
    const Time time = parse_time(text_of(body, "time"));
    return (!since || time >= *since) && (!before || time < *before);
  } catch (const Error&) {
    return false;  // it was altered; the others can be read all the same, and verification names it
  }
}

EventFilter event_filter(const http::Target& target) {
  EventFilter filter{.types = {}, .since = time_of(target, "since"), .before = time_of(target, "before")};
  std::string_view types = target.find("type").value_or("");
  while (!types.empty()) {
    const std::size_t end = std::min(types.find(','), types.size());
    if (end > 0) filter.types.emplace_back(types.substr(0, end));
    types.remove_prefix(std::min(end + 1, types.size()));
  }
  return filter;
}

void append_event(std::string& out, const store::Event& event) {
  out.append("{\"event\":").append(event.body).append(",\"hash\":\"").append(to_hex(event.hash)).append("\"}");
}

Async<FoundEvents> find_events(runtime::Runtime& runtime, store::Store& store, std::string session_id,
                               std::uint64_t from, std::size_t limit, EventFilter filter) {
  const std::uint64_t newest = (co_await runtime.session(session_id)).record.head.chain.seq;
  FoundEvents found{.next = from};
  std::uint64_t looked_at = 0;
  while (found.events.size() < limit && looked_at < most_looked_at && found.next <= newest) {
    const std::size_t wanted = filter.is_set() ? events_at_once : limit;
    std::vector<store::Event> events = co_await store.events(session_id, found.next, wanted);
    if (events.empty()) break;
    looked_at += events.size();
    for (store::Event& event : events) {
      if (found.events.size() == limit) break;
      found.next = event.seq + 1;
      if (filter.takes(event)) found.events.push_back(std::move(event));
    }
  }
  if (found.next > newest) found.next = 0;
  co_return found;
}

Async<EventPage> event_page(runtime::Runtime& runtime, store::Store& store, std::string session_id,
                            std::uint64_t from, std::size_t limit, EventFilter filter) {
  const FoundEvents found =
      co_await find_events(runtime, store, std::move(session_id), from, limit, std::move(filter));
  EventPage page{.json = "[", .next = found.next};
  for (const store::Event& event : found.events) {
    if (page.json.size() > 1) page.json += ',';
    append_event(page.json, event);
  }
  page.json += ']';
  co_return page;
}

Async<void> stream_events(runtime::Runtime& runtime, store::Store& store, JournalFollowers& followers, Clock& clock,
                          std::string session_id, EventStream stream, http::Responder& responder) {
  JournalFollowers::Follower follower(followers, session_id);
  store::SessionHead head = (co_await runtime.session(session_id)).record.head;
  std::uint64_t next = stream.from;
  if (is_over(head) && next > head.chain.seq) {
    // Browsers come back after the end of a stream, unless they are told that there is nothing more.
    co_await responder.send({.status = 204});
    co_return;
  }
  http::Response start;
  start.content_type = stream.format == StreamFormat::sse ? "text/event-stream" : "application/x-ndjson";
  start.headers.add("Cache-Control", "no-store");
  co_await responder.start(std::move(start));
  std::string lines;
  Instant heartbeat = clock.instant() + stream.times.heartbeat;
  for (;;) {
    while (next <= head.chain.seq) {
      const std::vector<store::Event> events = co_await store.events(session_id, next, events_at_once);
      if (events.empty()) co_return;  // the session was purged meanwhile
      for (const store::Event& event : events) {
        next = event.seq + 1;
        if (!stream.filter.takes(event)) continue;
        std::string json;
        append_event(json, event);
        append_line(lines, stream.format, json, event.seq);
        if (lines.size() >= piece_bytes) co_await responder.write(std::exchange(lines, {}));
      }
      if (lines.empty()) continue;
      co_await responder.write(std::exchange(lines, {}));
      heartbeat = clock.instant() + stream.times.heartbeat;
    }
    if (is_over(head)) break;
    co_await follower.wait(clock, heartbeat);
    // Also where there are events all the time, but none that are wanted.
    if (clock.instant() >= heartbeat) {
      append_line(lines, stream.format, R"({"type":"heartbeat"})");
      co_await responder.write(std::exchange(lines, {}));
      heartbeat = clock.instant() + stream.times.heartbeat;
    }
    head = (co_await runtime.session(session_id)).record.head;
  }
  co_await sleep_until(clock, clock.instant() + stream.times.linger);
}

}  // namespace sojourn::server
