#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"

// Sessions that must be looked at when their time has come: about 130 bytes each.
//
// What is stored is wall time, so their time goes by the wall clock. That may be set: back, and it takes longer;
// forward, and that is seen within `longest_look_away`.
namespace sojourn::runtime {

// Threads: one executor.
class Sleepers {
 public:
  static constexpr Seconds longest_look_away{10};

  // `wake` is called when one is due; take_due() then names it.
  Sleepers(Executor executor, Clock& clock, std::function<void()> wake);

  void add(Time due, std::string session_id);

  // Forgets one that is in memory again. `due` is that of add(); anything else changes nothing.
  void remove(Time due, const std::string& session_id);

  // The one that is due for longest, which is forgotten; nothing while none is.
  std::optional<std::string> take_due();

  // Nothing wakes any more.
  void close();

  std::size_t size() const { return by_time_.size(); }

 private:
  void arm();

  Executor executor_;
  Clock& clock_;
  std::function<void()> wake_;
  std::set<std::pair<Time, std::string>> by_time_;
  std::unique_ptr<Alarm> alarm_;
  Instant alarm_at_;
  bool closed_ = false;
};

}  // namespace sojourn::runtime
