#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/stored.hpp"
#include "sojourn/store/artifact_store.hpp"
#include "sojourn/store/purge.hpp"
#include "sojourn/store/session_folder.hpp"

namespace sojourn::cli {

namespace {

constexpr std::size_t sessions_at_once = 1'000;
constexpr std::uint64_t bar_width = 30;

struct Found {
  std::uint64_t sessions = 0;
  std::uint64_t events = 0;
};

Async<void> count(store::Store& store, store::SessionQuery query, Found& found) {
  std::uint64_t place = 0;
  do {
    const store::Purgeable page = co_await store.purgeable(query, sessions_at_once, place);
    found.sessions += page.sessions.size();
    for (const store::Purgeable::Session& session : page.sessions) found.events += session.events;
    place = page.next;
  } while (place != 0);
}

// Where somebody looks on, a bar on one line that is written over again and again.
class ProgressBar {
 public:
  ProgressBar(Console& console, std::uint64_t all) : console_(console), all_(all) {}
  ~ProgressBar() {
    if (is_drawn_) console_.err << '\n';
  }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void draw(std::uint64_t gone) {
    if (!console_.colour || console_.json || all_ == 0) return;
    const std::uint64_t done = std::min(gone * bar_width / all_, bar_width);
    console_.err << fmt::format("\r[{:#<{}}{:.<{}}] {} of {} sessions", "", done, "", bar_width - done, gone, all_)
                 << std::flush;
    is_drawn_ = true;
  }

 private:
  Console& console_;
  const std::uint64_t all_;
  bool is_drawn_ = false;
};

Async<void> remove_files(const Settings& settings, std::string session_id) {
  if (is_session_id(session_id)) {
    store::ArtifactStore(settings.data).remove(session_id);
    store::SessionFolders(settings.data, settings.data_sessions_path).remove(session_id);
  }
  co_return;
}

Async<void> purge(store::Store& store, store::SessionQuery query, const Settings& settings, Console& console,
                  Found& found, std::uint64_t& gone) {
  co_await count(store, query, found);
  ProgressBar bar(console, found.sessions);
  gone =
      co_await store::purge(store, std::move(query),
                            {.remove_folder = [&](std::string id) { return remove_files(settings, std::move(id)); },
                             .go_on =
                                 [&](std::uint64_t so_far) {
                                   bar.draw(so_far);
                                   return true;
                                 }});
  bar.draw(gone);
}

void purge_alone(const Settings& settings, const std::function<Async<void>(store::Store&)>& work) {
  try {
    change_store(settings, work);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::store_locked) throw;
    throw Error(ErrorCode::store_locked,
                error.message() +
                    ": it purges by itself, by its settings retention and retention_size; stop it for "
                    "another purge",
                error.details());
  }
}

store::SessionQuery query_of(const PurgeOptions& options) {
  try {
    return {.app = options.app, .ended_before = SystemClock().now() - server::parse_age(options.older_than)};
  } catch (const Error& error) {
    throw Error(ErrorCode::config_invalid, "--older-than: " + error.message());
  }
}

}  // namespace

ExitCode purge_sessions(const PurgeOptions& options, const Settings& settings, Console& console) {
  const store::SessionQuery query = query_of(options);
  Found found;
  std::uint64_t gone = 0;
  if (options.dry_run) {
    read_store(settings, [&](store::Store& store) { return count(store, query, found); });
  } else {
    purge_alone(settings, [&](store::Store& store) { return purge(store, query, settings, console, found, gone); });
  }
  if (console.json) {
    print_json(console, JsonObject{{"sessions", found.sessions}, {"events", found.events}, {"removed", gone}});
  } else if (options.dry_run) {
    console.out << fmt::format("{} sessions with {} events would be removed\n", found.sessions, found.events);
  } else {
    console.out << fmt::format("{} sessions removed\n", gone);
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
