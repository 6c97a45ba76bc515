#include <fmt/format.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/flow_runs.hpp"
#include "sojourn/server/query.hpp"

// What is asked of the flows that run and ran in a session, as its journal tells of them: /sessions/{id}/flow.
namespace sojourn::server {

namespace {

constexpr std::uint64_t default_runs = 20;
constexpr std::uint64_t most_runs = 100;
constexpr std::size_t most_bytes = 4 * limits::mebibyte;  // of a page's events
constexpr std::size_t events_at_once = 50;

}  // namespace

// Events may be large, so what is in them is looked at elsewhere than on the loop.
Async<void> Api::get_flow(Ask& ask) {
  const std::string& id = ask.captures.at(0);
  FlowRuns runs(whole_number(ask.target, "limit", default_runs, most_runs), most_bytes);
  std::uint64_t next = whole_number(ask.target, "from", 1, INT64_MAX);
  bool is_running = true;
  for (bool was_running = true; !runs.is_full();) {
    const std::uint64_t newest = (co_await runtime_.session(id)).record.head.chain.seq;
    while (next <= newest && !runs.is_full()) {
      const std::vector<store::Event> events = co_await store_.events(id, next, events_at_once);
      if (events.empty()) break;
      next = events.back().seq + 1;
      co_await blocking_.run([&] { runs.add(events); });
    }
    // One that ended while its journal was read has told so by now.
    is_running = runtime_.live_call(runs.open_task()) != nullptr;
    if (!was_running || runs.open_task().empty() || is_running) break;
    was_running = false;
  }
  co_await note_read(ask, "flow");
  runs.end(is_running, clock_.now());
  std::string json = co_await blocking_.run([&] { return runs.json(); });
  http::Response response = data_response(ask.bare, 200, std::move(json));
  if (runs.next() > 0) {
    const std::string path = fmt::format("/sessions/{}/flow", id);
    response.headers.add("Link", next_page(path, ask.target, "from", std::to_string(runs.next())));
  }
  co_await ask.responder.send(std::move(response));
}

}  // namespace sojourn::server
