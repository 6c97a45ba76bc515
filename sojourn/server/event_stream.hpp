#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sojourn/http/message.hpp"
#include "sojourn/server/journal_followers.hpp"
#include "sojourn/server/task_stream.hpp"
#include "sojourn/store/record.hpp"

// A session's journal over HTTP: a page of it, or all of it as it grows.
namespace sojourn::server {

// Which events are wanted.
struct EventFilter {
  std::vector<std::string> types;  // a name, or the beginning of some before ".*"; none: all
  std::optional<Time> since;       // inclusive
  std::optional<Time> before;      // exclusive

  bool is_set() const { return !types.empty() || since || before; }
  // Not one that cannot be read, unless all are wanted.
  bool takes(const store::Event& event) const;
};

// `type`, `since` and `before` of a query. Errors: invalid_request, also for times without a zone.
EventFilter event_filter(const http::Target& target);

// {"event": as stored, "hash": hex}, so that whoever reads it can check the chain.
void append_event(std::string& out, const store::Event& event);

struct FoundEvents {
  std::vector<store::Event> events;
  std::uint64_t next = 0;  // where the next page begins; 0 when this one holds the newest event
};

// At most `limit` events that fit, from `from` on. Looks at 10,000 events at most, so that a page may hold fewer, and
// none, though more follow. Errors: session_not_found.
Async<FoundEvents> find_events(runtime::Runtime& runtime, store::Store& store, std::string session_id,
                               std::uint64_t from, std::size_t limit, EventFilter filter);

struct EventPage {
  std::string json;  // an array
  std::uint64_t next = 0;
};

// Likewise, as JSON.
Async<EventPage> event_page(runtime::Runtime& runtime, store::Store& store, std::string session_id,
                            std::uint64_t from, std::size_t limit, EventFilter filter);

struct EventStream {
  StreamFormat format = StreamFormat::ndjson;
  std::uint64_t from = 1;
  EventFilter filter;
  StreamTimes times;
};

// Sends the events from `from` on, then each new one when it is durable, until the session is over.
// Shape:  docs/formats/http.md, "Events". 204 for a session that is over and has nothing from there on.
// Errors: session_not_found, before anything is written; connection_failed when the client is gone; unavailable when
//         the server stops.
Async<void> stream_events(runtime::Runtime& runtime, store::Store& store, JournalFollowers& followers, Clock& clock,
                          std::string session_id, EventStream stream, http::Responder& responder);

}  // namespace sojourn::server
