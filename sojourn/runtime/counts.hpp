#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// What a runtime has done since it was made, as plain numbers that whoever wants them reads and puts into his form.
//
// One thread writes and reads them, so that a call pays an addition and not a lock.
namespace sojourn::runtime {

// How often something took how long.
class Durations {
 public:
  static constexpr std::array<Microseconds, 18> bounds{
      Microseconds(250),        Microseconds(500),        Microseconds(1'000),      Microseconds(2'500),
      Microseconds(5'000),      Microseconds(10'000),     Microseconds(25'000),     Microseconds(50'000),
      Microseconds(100'000),    Microseconds(250'000),    Microseconds(500'000),    Microseconds(1'000'000),
      Microseconds(2'500'000),  Microseconds(5'000'000),  Microseconds(10'000'000), Microseconds(30'000'000),
      Microseconds(60'000'000), Microseconds(300'000'000)};

  void add(Instant::duration took);

  // How many took at most bounds[i] and longer than the bound before; the last of them: longer than every bound.
  const std::array<std::uint64_t, bounds.size() + 1>& counts() const { return counts_; }
  Microseconds sum() const { return sum_; }

 private:
  std::array<std::uint64_t, bounds.size() + 1> counts_{};
  Microseconds sum_{0};
};

// Of one app, or of the sessions without one.
struct AppCounts {
  std::uint64_t sessions_created = 0;
  std::map<store::SessionStatus, std::uint64_t> sessions_over;  // by how they ended
  std::uint64_t calls_completed = 0;
  std::uint64_t calls_cancelled = 0;
  std::map<ErrorCode, std::uint64_t> calls_failed;
  Durations call_time;                                      // of calls that ran, the start of their worker included
  Durations wait_time;                                      // of calls that ran, in the queue
  std::map<std::string, Durations, std::less<>> step_time;  // of an algorithm's steps, by their index
  std::map<std::string, Durations, std::less<>> worker_starts;  // of those that succeeded, by how it came to be
};

class Counts {
 public:
  // Stays where it is as long as this lives.
  AppCounts& of_app(std::string_view name);
  const std::map<std::string, AppCounts, std::less<>>& apps() const { return apps_; }

  // A step that an app tells of by an event algorithm.step. Past `most_steps` its index counts as "other", and what
  // is no such record, or took longer than a day, not at all.
  void step_finished(std::string_view app, const JsonObject& record);
  static constexpr std::int64_t most_steps = 32;

  // What apps call their resources is theirs to choose, so past `most_kinds` the rest counts as "other".
  void resource_registered(std::string_view kind);
  const std::map<std::string, std::uint64_t, std::less<>>& resources() const { return resources_; }
  static constexpr std::size_t most_kinds = 32;

  Durations session_creation;  // until durable

 private:
  std::map<std::string, AppCounts, std::less<>> apps_;
  std::map<std::string, std::uint64_t, std::less<>> resources_;
};

}  // namespace sojourn::runtime
