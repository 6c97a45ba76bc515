#include <fmt/format.h>

#include <charconv>

#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/counted.hpp"
#include "sojourn/server/event_stream.hpp"
#include "sojourn/server/journal_keys.hpp"
#include "sojourn/server/query.hpp"
#include "sojourn/session/entry.hpp"
#include "sojourn/store/archive.hpp"
#include "sojourn/store/journal_key.hpp"

// What is asked of journals: /sessions/{id}/events and /audit.
namespace sojourn::server {

namespace {

// The number of the event after the last one that a client has, which comes back to a stream that broke off.
std::uint64_t first_wanted(const http::Request& request, const http::Target& target) {
  const auto last = request.headers.find("Last-Event-ID");
  if (!last || last->empty()) return whole_number(target, "from", 1, INT64_MAX);
  std::uint64_t seq = 0;
  const auto [end, error] = std::from_chars(last->data(), last->data() + last->size(), seq);
  if (error != std::errc() || end != last->data() + last->size() || seq >= INT64_MAX) {
    throw Error(ErrorCode::invalid_request, "'Last-Event-ID' must be the number of an event",
                {{"field", "Last-Event-ID"}});
  }
  return seq + 1;
}

constexpr std::size_t most_exports = 8;

Async<void> run_blocking(BlockingPool& pool, std::function<void()> work) {
  co_await pool.run(work);
}

Async<void> write_piece(http::Responder& responder, std::string piece) {
  if (!piece.empty()) co_await responder.write(std::move(piece));
}

}  // namespace

// Before the answer, so that nobody reads unseen.
Async<void> Api::note_read(const Ask& ask, std::string what) {
  if (!options_.audit_reads) co_return;
  session::NewEvent read{.type = "audit.read", .actor = ask.caller.name, .data = to_text(JsonObject{{"what", what}})};
  session::Entry entry{.bytes = what.size(), .also_after_end = true};
  entry.write = [read = std::move(read)](session::Draft& draft) {
    draft.step.events.push_back(read);
    draft.step.events.back().time = draft.now;
  };
  co_await runtime_.append(ask.captures.at(0), std::move(entry));
}

Async<void> Api::list_events(Ask& ask) {
  const std::uint64_t limit = whole_number(ask.target, "limit", default_page, largest_page);
  const std::uint64_t from = whole_number(ask.target, "from", 1, INT64_MAX);
  EventPage page = co_await event_page(runtime_, store_, ask.captures.at(0), from, limit, event_filter(ask.target));
  co_await note_read(ask, "events");
  http::Response response = data_response(ask.bare, 200, std::move(page.json));
  if (page.next > 0) {
    const std::string path = fmt::format("/sessions/{}/events", ask.captures.at(0));
    response.headers.add("Link", next_page(path, ask.target, "from", std::to_string(page.next)));
  }
  co_await ask.responder.send(std::move(response));
}

Async<void> Api::follow_events(Ask& ask) {
  const auto accept = ask.request.headers.find("Accept").value_or("");
  const bool sse = accept.find("text/event-stream") != std::string_view::npos;
  EventStream stream{.format = sse ? StreamFormat::sse : StreamFormat::ndjson,
                     .from = first_wanted(ask.request, ask.target),
                     .filter = event_filter(ask.target),
                     .times = options_.stream};
  co_await runtime_.session(ask.captures.at(0));  // refuses an unknown one
  co_await note_read(ask, "events/stream");
  co_await stream_events(runtime_, store_, *options_.followers, clock_, ask.captures.at(0), std::move(stream),
                         ask.responder);
}

Async<void> Api::get_journal_keys(Ask& ask) {
  const JournalKeys& keys = *options_.journal_keys;
  co_await ask.answer(200, to_text(store::shown_keys(keys.key.public_key(), keys.all)));
}

// Streams the archive of a session as it stands. What breaks off in the middle is no archive, and shows.
Async<void> Api::export_session(Ask& ask) {
  if (exports_ >= most_exports) {
    throw Error(ErrorCode::unavailable, fmt::format("{} exports run already, the most allowed", exports_));
  }
  const Counted running(exports_);
  const std::string& id = ask.captures.at(0);
  co_await runtime_.session(id);  // refuses an unknown one
  co_await note_read(ask, "export");
  http::Response head;
  head.content_type = "application/x-tar";
  head.headers.add("Content-Disposition", fmt::format("attachment; filename=\"{}.tar\"", id));
  co_await ask.responder.start(std::move(head));
  if (ask.request.method == http::Method::head) co_return;
  const JournalKeys& keys = *options_.journal_keys;
  const store::ArchiveParts parts{
      .key = keys.key,
      .keys = keys.all,
      .artifacts = &keys.artifacts,
      .blocking = [this](std::function<void()> work) { return run_blocking(blocking_, std::move(work)); }};
  co_await store::write_archive(store_, id, parts, clock_.now(),
                                [&ask](std::string piece) { return write_piece(ask.responder, std::move(piece)); });
}

}  // namespace sojourn::server
