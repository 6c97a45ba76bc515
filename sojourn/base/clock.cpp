#include "sojourn/base/clock.hpp"

#include <fmt/format.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn {

namespace {

namespace asio = boost::asio;

class TimerAlarm final : public Alarm {
 public:
  TimerAlarm(Instant when, const Executor& executor, std::function<void()> action)
      : timer_(executor, when), armed_(std::make_shared<bool>(true)) {
    // A cancelled timer may already have its handler queued; `armed` is what tells it not to act.
    timer_.async_wait([armed = armed_, action = std::move(action)](const boost::system::error_code&) {
      if (std::exchange(*armed, false)) action();
    });
  }
  ~TimerAlarm() override { *armed_ = false; }

 private:
  asio::steady_timer timer_;
  std::shared_ptr<bool> armed_;  // owned by this and by the timer's handler
};

}  // namespace

Time SystemClock::now() const {
  return std::chrono::floor<Microseconds>(std::chrono::system_clock::now());
}

Instant SystemClock::instant() const {
  return std::chrono::steady_clock::now();
}

std::unique_ptr<Alarm> SystemClock::set_alarm(Instant when, Executor executor, std::function<void()> action) {
  return std::make_unique<TimerAlarm>(when, executor, std::move(action));
}

struct ManualClock::Pending {
  struct Entry {
    Executor executor;
    std::function<void()> action;
    std::shared_ptr<bool> armed;  // owned by the entry, its alarm and the posted action
  };

  std::atomic<std::int64_t> wall;
  std::atomic<std::int64_t> elapsed = 0;
  std::multimap<Instant, Entry> entries;
};

namespace {

class ManualAlarm final : public Alarm {
 public:
  ManualAlarm(std::weak_ptr<ManualClock::Pending> pending, std::shared_ptr<bool> armed)
      : pending_(std::move(pending)), armed_(std::move(armed)) {}
  ~ManualAlarm() override {
    *armed_ = false;
    if (const auto pending = pending_.lock()) {
      std::erase_if(pending->entries, [&](const auto& entry) { return entry.second.armed == armed_; });
    }
  }

 private:
  std::weak_ptr<ManualClock::Pending> pending_;
  std::shared_ptr<bool> armed_;
};

}  // namespace

ManualClock::ManualClock(Time start) : pending_(std::make_shared<Pending>()) {
  pending_->wall = start.time_since_epoch().count();
}

ManualClock::~ManualClock() = default;

Time ManualClock::now() const {
  return Time(Microseconds(pending_->wall.load()));
}

Instant ManualClock::instant() const {
  return Instant(Seconds(1)) + Microseconds(pending_->elapsed.load());
}

std::unique_ptr<Alarm> ManualClock::set_alarm(Instant when, Executor executor, std::function<void()> action) {
  auto armed = std::make_shared<bool>(true);
  pending_->entries.emplace(when, Pending::Entry{std::move(executor), std::move(action), armed});
  if (when <= instant()) advance(Microseconds(0));
  return std::make_unique<ManualAlarm>(pending_, std::move(armed));
}

void ManualClock::advance(Microseconds step) {
  pending_->wall += step.count();
  pending_->elapsed += step.count();
  auto& entries = pending_->entries;
  while (!entries.empty() && entries.begin()->first <= instant()) {
    Pending::Entry entry = std::move(entries.extract(entries.begin()).mapped());
    asio::post(entry.executor, [armed = entry.armed, action = std::move(entry.action)] {
      if (std::exchange(*armed, false)) action();
    });
  }
}

void ManualClock::set_wall(Time now) {
  pending_->wall = now.time_since_epoch().count();
}

// By hand, since every call writes seven of them.
std::string format_time(Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::string text = "0000-00-00T00:00:00.000000Z";
  const auto write = [&text](std::size_t at, std::size_t digits, std::int64_t value) {
    for (std::size_t i = at + digits; i-- > at; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  };
  write(0, 4, static_cast<int>(date.year()));
  write(5, 2, static_cast<unsigned>(date.month()));
  write(8, 2, static_cast<unsigned>(date.day()));
  write(11, 2, clock.hours().count());
  write(14, 2, clock.minutes().count());
  write(17, 2, clock.seconds().count());
  write(20, 6, clock.subseconds().count());
  return text;
}

Time parse_time(std::string_view text) {
  const auto refuse = [&]() {
    return Error(ErrorCode::invalid_request,
                 fmt::format("'{}' is no UTC time such as 2026-11-21T09:30:00.123456Z", to_valid_utf8(text)));
  };
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) {
      if (i >= text.size() || text[i] < '0' || text[i] > '9') throw refuse();
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  const auto expect = [&](std::size_t at, char c) {
    if (at >= text.size() || text[at] != c) throw refuse();
  };
  for (const auto& [at, c] : {std::pair{4u, '-'}, {7u, '-'}, {10u, 'T'}, {13u, ':'}, {16u, ':'}}) expect(at, c);

  const std::chrono::year_month_day date(std::chrono::year(number(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(number(8, 2))));
  const int hours = number(11, 2);
  const int minutes = number(14, 2);
  const int seconds = number(17, 2);
  if (!date.ok() || hours > 23 || minutes > 59 || seconds > 59) throw refuse();

  std::size_t at = 19;
  int micros = 0;
  if (at < text.size() && text[at] == '.') {
    int scale = 100'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10) {
      micros += (text[at] - '0') * scale;
    }
    if (at == 20 || at > 26) throw refuse();
  }
  expect(at, 'Z');
  if (at + 1 != text.size()) throw refuse();
  return Time(std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hours) +
              std::chrono::minutes(minutes) + Seconds(seconds) + Microseconds(micros));
}

}  // namespace sojourn
