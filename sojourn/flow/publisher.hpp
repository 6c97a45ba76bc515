#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/flow/message.hpp"

// Brings what happens in a flow session to its subscribers, first in first out.
//
// Each subscriber has a queue and a thread of its own, so one that is slow, blocks or throws delays nobody else, and
// never a node.
namespace sojourn::flow {

using SubscriptionId = std::uint64_t;
using MessageHandler = std::function<void(const Message&)>;

struct SubscriberOptions {
  // All of them, if it is not given. Called by the publisher, so it calls nothing of it; where it throws, the message
  // is not wanted, and counted as failed.
  std::function<bool(const Message&)> wants = nullptr;
  std::optional<std::uint64_t> from = std::nullopt;  // first what is kept from this offset on; else what comes later
  std::size_t queue = 10'000;  // messages that wait, at least 1; past it the oldest are dropped, and counted
};

struct SubscriberState {
  SubscriptionId id;
  std::string name;
  std::size_t waiting = 0;
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t failed = 0;  // deliveries, and questions for what it wants, that threw
  std::string last_error;
};

// For `wants`: only messages that hold one of these types.
template <class... Bodies>
bool is_one_of(const Message& message) {
  return (std::holds_alternative<Bodies>(message.body) || ...);
}

class Crossing;

// One message that somebody waits for. Lifetime: shared by who waits and the publisher.
class Expected {
 public:
  Expected(Executor home, std::function<bool(const Message&)> wants);
  ~Expected();
  Expected(const Expected&) = delete;
  Expected& operator=(const Expected&) = delete;

  // On the executor that expect() was given.
  // Errors: call_timeout at `deadline`, after which it may be waited for again; unavailable if the publisher was
  // closed before the message came; what `wants` threw. Cancel: throws cancelled.
  Async<std::shared_ptr<const Message>> wait(Clock& clock, Instant deadline);

 private:
  friend class Publisher;
  bool offer(const std::shared_ptr<const Message>& message);  // whether it waits for no more

  const std::function<bool(const Message&)> wants_;
  const std::shared_ptr<Crossing> over_;  // shared as crossings are
  std::shared_ptr<const Message> message_;
};

// Threads: safe.
class Publisher {
 public:
  static constexpr std::size_t default_history = 1'024;

  explicit Publisher(std::size_t history = default_history) : history_limit_(history) {}
  ~Publisher();  // closes it, without waiting for what is not delivered
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // Ignored once it is closed. Cost: constant for each subscriber that wants it; delivers nothing itself.
  void publish(Time time, MessageBody body);

  // `handler` is called on the subscriber's thread, with one message at a time in the order of their offsets.
  // Errors: unavailable once it is closed; invalid_request for a queue of 0.
  SubscriptionId subscribe(std::string name, MessageHandler handler, SubscriberOptions options = {});
  SubscriptionId subscribe(std::string name, std::function<Async<void>(Message)> handler,
                           SubscriberOptions options = {});

  // Likewise with all that waits at once. An exception loses what it was called with.
  SubscriptionId subscribe_batches(std::string name,
                                   std::function<void(std::span<const std::shared_ptr<const Message>>)> handler,
                                   SubscriberOptions options = {});

  // The first message from now on that `wants` says yes to; so ask for it before what causes it is begun. `wants` is
  // called by the publisher, so it calls nothing of it. Errors: unavailable once it is closed.
  std::shared_ptr<Expected> expect(Executor home, std::function<bool(const Message&)> wants);

  // No delivery begins after it returns; one that runs is not waited for. Errors: not_found.
  void unsubscribe(SubscriptionId id);

  // Delivers what waits, until `patience` is over, and ends the subscribers' threads. A handler that does not return
  // keeps its thread; what waits for it then is dropped. Idempotent. True if everything was delivered.
  bool close(Milliseconds patience);

  std::vector<SubscriberState> subscribers() const;
  bool has_subscribers() const;
  std::uint64_t next_offset() const;

 private:
  struct Subscriber;
  SubscriptionId add(std::shared_ptr<Subscriber> subscriber);

  const std::size_t history_limit_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::uint64_t next_offset_ = 0;
  SubscriptionId next_id_ = 1;
  std::deque<std::shared_ptr<const Message>> history_;
  std::vector<std::shared_ptr<Subscriber>> subscribers_;  // shared with their threads
  std::vector<std::weak_ptr<Expected>> expected_;
};

}  // namespace sojourn::flow
