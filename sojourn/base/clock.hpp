#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sojourn/base/async.hpp"

// Time is handed in, so that tests can turn the clock by hand.
namespace sojourn {

using Microseconds = std::chrono::microseconds;
using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

// Wall time, UTC. It may jump; use it for what people read, never to measure.
using Time = std::chrono::sys_time<Microseconds>;

// Monotonic time. Every deadline is one of these.
using Instant = std::chrono::steady_clock::time_point;

// A pending wake-up. Destroying it disarms it; after that its action does not run.
// Threads: destroy it on the executor it was set on.
class Alarm {
 public:
  virtual ~Alarm() = default;
};

class Clock {
 public:
  virtual ~Clock() = default;

  virtual Time now() const = 0;
  virtual Instant instant() const = 0;

  // Runs `action` once on `executor`, at `when` or as soon after as it can.
  // Threads: call it on `executor`.
  virtual std::unique_ptr<Alarm> set_alarm(Instant when, Executor executor, std::function<void()> action) = 0;
};

// The machine's clocks. Threads: safe.
class SystemClock final : public Clock {
 public:
  Time now() const override;
  Instant instant() const override;
  std::unique_ptr<Alarm> set_alarm(Instant when, Executor executor, std::function<void()> action) override;
};

// A clock that moves only when it is told to, for tests.
// Threads: now() and instant() are safe; the rest belongs to one executor.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Time start = Time(Seconds(1'700'000'000)));
  ~ManualClock() override;

  Time now() const override;
  Instant instant() const override;
  std::unique_ptr<Alarm> set_alarm(Instant when, Executor executor, std::function<void()> action) override;

  // Moves both clocks on and posts the actions that became due, earliest first.
  void advance(Microseconds step);

  // Moves the wall clock only, in either direction, as an operator or NTP may.
  void set_wall(Time now);

  struct Pending;

 private:
  std::shared_ptr<Pending> pending_;  // shared with the alarms, which may outlive the clock
};

// "2026-11-21T09:30:00.123456Z" (RFC 3339).
std::string format_time(Time time);

// Reads RFC 3339, "2026-11-21T09:30:00Z" or "2026-11-21T10:30:00.5+01:00"; what is finer than a microsecond is left
// out. Errors: invalid_request, also for a time without a zone.
Time parse_time(std::string_view text);

}  // namespace sojourn
