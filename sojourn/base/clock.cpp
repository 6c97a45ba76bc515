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

namespace {

// Takes an RFC 3339 time apart, from left to right.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) : text_(text), rest_(text) {}

  Time read() {
    const int year = number(4);
    expect('-');
    const int month = number(2);
    expect('-');
    const int day = number(2);
    const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day)));
    if (!date.ok()) throw refusal();
    expect('T');
    const std::chrono::hours hours(number(2, 23));
    expect(':');
    const std::chrono::minutes minutes(number(2, 59));
    expect(':');
    const Seconds seconds(number(2, 59));
    const Microseconds fraction = rest_.starts_with('.') ? read_fraction() : Microseconds(0);
    const std::chrono::minutes offset = read_zone();
    if (!rest_.empty()) throw refusal();
    return Time(std::chrono::sys_days(date).time_since_epoch() + hours + minutes + seconds + fraction - offset);
  }

 private:
  Error refusal() const {
    return Error(ErrorCode::invalid_request,
                 fmt::format("'{}' is no time such as 2026-11-21T09:30:00Z or 2026-11-21T10:30:00+01:00",
                             to_valid_utf8(text_.substr(0, 64))));
  }

  char take() {
    if (rest_.empty()) throw refusal();
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  void expect(char c) {
    if (take() != c) throw refusal();
  }

  int number(int digits, int most = 9999) {
    int value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = take();
      if (c < '0' || c > '9') throw refusal();
      value = value * 10 + (c - '0');
    }
    if (value > most) throw refusal();
    return value;
  }

  Microseconds read_fraction() {
    expect('.');
    Microseconds fraction(number(1) * 100'000);
    for (int scale = 10'000; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; scale /= 10) {
      fraction += Microseconds((take() - '0') * scale);
    }
    return fraction;
  }

  std::chrono::minutes read_zone() {
    if (rest_.empty()) {
      throw Error(ErrorCode::invalid_request,
                  fmt::format("'{}' names no time zone: end it with Z, or with an offset such as +01:00", text_));
    }
    const char sign = take();
    if (sign == 'Z') return std::chrono::minutes(0);
    if (sign != '+' && sign != '-') throw refusal();
    const std::chrono::hours hours(number(2, 23));
    expect(':');
    const std::chrono::minutes offset = hours + std::chrono::minutes(number(2, 59));
    return sign == '+' ? offset : -offset;
  }

  std::string_view text_;
  std::string_view rest_;
};

}  // namespace

Time parse_time(std::string_view text) {
  return TimeReader(text).read();
}

}  // namespace sojourn
