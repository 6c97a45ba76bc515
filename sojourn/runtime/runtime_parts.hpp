#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/runtime/actor.hpp"
#include "sojourn/runtime/recovery.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/runtime/schedule.hpp"
#include "sojourn/runtime/sleepers.hpp"

// What a runtime consists of: for its own sources.
namespace sojourn::runtime {

struct Runtime::Parts {
  Parts(Executor the_executor, store::Store& the_store, Clock& the_clock, Random& the_random, const Log& the_log,
        Options the_options, Schedule::TakeUp take_up)
      : executor(std::move(the_executor)),
        store(the_store),
        clock(the_clock),
        random(the_random),
        log(the_log),
        options(std::move(the_options)),
        blocking(2),
        group(executor),
        sleepers(executor, clock,
                 [this] {
                   if (!std::exchange(waking, true)) group.spawn(end_overslept(*this));
                 }),
        schedule(group, clock, std::move(take_up)) {}

  Executor executor;
  store::Store& store;
  Clock& clock;
  Random& random;
  const Log& log;
  Options options;
  BlockingPool blocking;
  TaskGroup group;
  Counts counts;
  std::unique_ptr<Actor::Surroundings> around;
  std::map<std::string, std::shared_ptr<session::App>, std::less<>> apps;
  std::map<std::string, std::string, std::less<>> missing_apps;    // why
  std::map<std::string, std::size_t> sessions_of_app;              // live ones, and those being created
  std::unordered_map<std::string, std::shared_ptr<Actor>> actors;  // shared with what runs in them
  std::unordered_map<std::string, std::shared_ptr<LiveCall>> calls;
  std::size_t waiting_bytes = 0;  // of what waits in the actors' queues
  Sleepers sleepers;              // stored sessions that expire one day
  bool waking = false;            // the due ones of them are looked after
  Schedule schedule;
  AsyncMutex adopting;
  AsyncMutex waking_to_end;
  std::set<std::string> opening;  // keys of sessions that are just being opened
  Event opened;                   // one of them is
  bool draining = false;
  bool hurried = false;
  Event drained;  // when draining: a call is over
};

}  // namespace sojourn::runtime
