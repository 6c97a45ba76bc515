#include "sojourn/server/retention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/purge.hpp"

namespace sojourn::server {

namespace {

constexpr Seconds round{3'600};
constexpr Seconds longest_age{100LL * 366 * 86'400};
constexpr std::size_t sessions_at_once = 100;

struct Unit {
  std::string_view name;
  std::uint64_t worth;
};
constexpr std::array<Unit, 5> times{{{"s", 1}, {"m", 60}, {"h", 3'600}, {"d", 86'400}, {"w", 604'800}}};
constexpr std::array<Unit, 5> sizes{
    {{"", 1}, {"KB", 1'000}, {"MB", 1'000'000}, {"GB", 1'000'000'000}, {"TB", 1'000'000'000'000}}};

// A whole number from 1 with a unit, at most `most`.
std::uint64_t parse_amount(std::string_view text, std::span<const Unit> units, std::uint64_t most,
                           std::string_view form) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = std::ranges::find(units, text.substr(static_cast<std::size_t>(end - text.data())), &Unit::name);
  if (error != std::errc() || unit == units.end() || number < 1 || number > most / unit->worth) {
    throw Error(ErrorCode::invalid_request, fmt::format("'{}' is not {}", to_valid_utf8(text), form));
  }
  return number * unit->worth;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool RetentionRules::keeps_all() const {
  return !age && bytes == 0 && std::ranges::none_of(apps, [](const auto& app) { return app.second.has_value(); });
}

Seconds parse_age(std::string_view text) {
  const auto most = static_cast<std::uint64_t>(longest_age.count());
  return Seconds(parse_amount(text, times, most, "an age such as 90s, 45m, 12h, 30d or 8w"));
}

std::uint64_t parse_size(std::string_view text) {
  return parse_amount(text, sizes, INT64_MAX, "a size such as 500MB, 20GB or 2TB");
}

RetentionRules parse_retention(std::string_view text) {
  RetentionRules rules;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string_view rule = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = rule.find('=');
    if (equals == std::string_view::npos) {
      if (rules.age) throw Error(ErrorCode::invalid_request, "there is more than one age without an app");
      rules.age = parse_age(rule);
      continue;
    }
    const std::string_view age = trimmed(rule.substr(equals + 1));
    const auto [place, is_new] = rules.apps.emplace(trimmed(rule.substr(0, equals)), std::nullopt);
    if (place->first.empty()) throw Error(ErrorCode::invalid_request, "there is no app before '='");
    if (!is_new) {
      throw Error(ErrorCode::invalid_request,
                  fmt::format("the app '{}' stands there twice", to_valid_utf8(place->first)));
    }
    if (age != "never") place->second = parse_age(age);
  }
  return rules;
}

Retention::Retention(Executor executor, store::Store& store, const std::filesystem::path& data,
                     store::SessionFolders folders, Clock& clock, const Log& log, RetentionRules rules,
                     std::function<Async<std::uint64_t>()> stored_bytes)
    : store_(store),
      folders_(std::move(folders)),
      artifacts_(data),
      clock_(clock),
      log_(log),
      rules_(std::move(rules)),
      stored_bytes_(std::move(stored_bytes)),
      blocking_(1),
      group_(std::move(executor)) {}

void Retention::start() {
  if (!rules_.keeps_all()) group_.spawn(run());
}

Async<void> Retention::run() {
  while (!closing_) {
    try {
      const std::uint64_t gone = co_await apply();
      if (gone > 0) log_.info("removed sessions that are not to be kept", {{"sessions", gone}});
    } catch (const std::exception& error) {
      log_.error("sessions that are not to be kept could not be removed", {{"error", to_valid_utf8(error.what())}});
    }
    if (!closing_) co_await woken_.wait_until(clock_, clock_.instant() + round);
  }
}

Async<std::uint64_t> Retention::apply() {
  const Time now = clock_.now();
  std::uint64_t gone = 0;
  store::SessionQuery others;
  for (const auto& [app, age] : rules_.apps) {
    others.other_apps.insert(app);
    if (age) gone += co_await purge({.app = app, .ended_before = now - *age});
  }
  if (rules_.age) {
    others.ended_before = now - *rules_.age;
    gone += co_await purge(std::move(others));
  }
  if (rules_.bytes > 0) gone += co_await purge_to_size();
  co_return gone;
}

Async<std::uint64_t> Retention::purge(store::SessionQuery query, std::uint64_t most, std::uint64_t* place) {
  return store::purge(store_, std::move(query),
                      {.remove_folder = [this](std::string id) { return remove_folder(std::move(id)); },
                       .go_on = [this](std::uint64_t) { return !closing_; },
                       .most = most,
                       .place = place});
}

Async<void> Retention::remove_folder(std::string session_id) {
  if (!is_session_id(session_id)) co_return;
  co_await blocking_.run([&] {
    artifacts_.remove(session_id);
    folders_.remove(session_id);
  });
}

Async<std::uint64_t> Retention::purge_to_size() {
  store::SessionQuery query;
  for (const auto& [app, age] : rules_.apps) {
    if (!age) query.other_apps.insert(app);
  }
  std::uint64_t gone = 0;
  std::uint64_t place = 0;
  while (!closing_ && co_await bytes() > rules_.bytes) {
    gone += co_await purge(query, sessions_at_once, &place);
    if (place == 0) break;
  }
  co_return gone;
}

Async<std::uint64_t> Retention::bytes() {
  const std::uint64_t stored = co_await stored_bytes_();
  co_return stored + co_await blocking_.run([this] { return folders_.bytes() + artifacts_.bytes(); });
}

Async<void> Retention::close() {
  closing_ = true;
  woken_.notify_all();
  co_await group_.join();
}

}  // namespace sojourn::server
