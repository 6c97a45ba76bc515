#include "sojourn/flow/publisher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <thread>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/flow/crossing.hpp"

namespace sojourn::flow {

namespace {

Error is_closed() {
  return Error(ErrorCode::unavailable, "the flow session is closed and publishes nothing more");
}

}  // namespace

using Batch = std::vector<std::shared_ptr<const Message>>;

struct Publisher::Subscriber {
  using Handler = std::function<void(std::span<const std::shared_ptr<const Message>>)>;

  Subscriber(std::string its_name, Handler handler, std::size_t at_once, SubscriberOptions its_options)
      : state{.id = 0, .name = std::move(its_name)},
        handle(std::move(handler)),
        most_at_once(at_once),
        options(std::move(its_options)) {}

  void offer(const std::shared_ptr<const Message>& message) {
    std::exception_ptr error;
    try {
      if (!options.wants || options.wants(*message)) push(message);
    } catch (...) {
      error = std::current_exception();
    }
    if (!error) return;
    const std::scoped_lock lock(mutex);
    ++state.failed;
    state.last_error = failure_of(error).message;
  }

  void push(const std::shared_ptr<const Message>& message) {
    {
      const std::scoped_lock lock(mutex);
      if (queue.size() >= options.queue) {
        queue.pop_front();
        ++state.dropped;
      }
      queue.push_back(message);
    }
    changed.notify_all();
  }

  static void serve(const std::shared_ptr<Subscriber>& self) {
    std::unique_lock lock(self->mutex);
    while (true) {
      self->changed.wait(lock, [&] { return self->ends || !self->queue.empty(); });
      if (self->queue.empty()) break;
      const auto end =
          self->queue.begin() + static_cast<std::ptrdiff_t>(std::min(self->queue.size(), self->most_at_once));
      const Batch batch(std::make_move_iterator(self->queue.begin()), std::make_move_iterator(end));
      self->queue.erase(self->queue.begin(), end);
      self->deliver(batch, lock);
    }
    self->ended = true;
    self->changed.notify_all();
  }

  void deliver(const Batch& batch, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    std::exception_ptr error;
    try {
      handle(batch);
    } catch (...) {
      error = std::current_exception();
    }
    std::string text = error ? failure_of(error).message : std::string();
    lock.lock();
    state.delivered += batch.size();
    if (!error) return;
    ++state.failed;
    state.last_error = std::move(text);
  }

  // What waits is still delivered, unless `drop`.
  void end(bool drop) {
    {
      const std::scoped_lock lock(mutex);
      ends = true;
      if (drop) queue.clear();
    }
    changed.notify_all();
  }

  SubscriberState state;
  const Handler handle;
  const std::size_t most_at_once;
  const SubscriberOptions options;
  std::thread thread;  // under the publisher's mutex

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<const Message>> queue;
  bool ends = false;
  bool ended = false;
};

Expected::Expected(Executor home, std::function<bool(const Message&)> wants)
    : wants_(std::move(wants)), over_(std::make_shared<Crossing>(std::move(home), 1)) {}

Expected::~Expected() {
  over_->leave();
}

Async<std::shared_ptr<const Message>> Expected::wait(Clock& clock, Instant deadline) {
  if (!co_await over_->wait_until(clock, deadline)) {
    if (clock.instant() < deadline) throw Error(ErrorCode::cancelled, "the wait for a message was cancelled");
    throw Error(ErrorCode::call_timeout, "the message that was waited for did not come in time");
  }
  over_->rethrow();
  co_return message_;
}

bool Expected::offer(const std::shared_ptr<const Message>& message) {
  std::exception_ptr error;
  try {
    if (!wants_(*message)) return false;
    message_ = message;
  } catch (...) {
    error = std::current_exception();
  }
  over_->arrive(std::move(error));
  return true;
}

Publisher::~Publisher() {
  close(Milliseconds(0));
}

void Publisher::publish(Time time, MessageBody body) {
  const std::scoped_lock lock(mutex_);
  if (closed_) return;
  const auto message =
      std::make_shared<const Message>(Message{.offset = next_offset_++, .time = time, .body = std::move(body)});
  if (history_limit_ > 0) {
    if (history_.size() == history_limit_) history_.pop_front();
    history_.push_back(message);
  }
  for (const auto& subscriber : subscribers_) {
    subscriber->offer(message);
  }
  std::erase_if(expected_, [&](const auto& expected) {
    const auto waits = expected.lock();
    return !waits || waits->offer(message);
  });
}

std::shared_ptr<Expected> Publisher::expect(Executor home, std::function<bool(const Message&)> wants) {
  auto expected = std::make_shared<Expected>(std::move(home), std::move(wants));
  const std::scoped_lock lock(mutex_);
  if (closed_) throw is_closed();
  expected_.push_back(expected);
  return expected;
}

SubscriptionId Publisher::subscribe(std::string name, MessageHandler handler, SubscriberOptions options) {
  return add(std::make_shared<Subscriber>(
      std::move(name), [handler = std::move(handler)](const auto& one) { handler(*one.front()); }, 1,
      std::move(options)));
}

SubscriptionId Publisher::subscribe(std::string name, std::function<Async<void>(Message)> handler,
                                    SubscriberOptions options) {
  return subscribe(std::move(name),
                   MessageHandler([handler = std::move(handler), loop = std::make_shared<Loop>()](
                                      const Message& message) { loop->run(handler(message)); }),
                   std::move(options));
}

SubscriptionId Publisher::subscribe_batches(
    std::string name, std::function<void(std::span<const std::shared_ptr<const Message>>)> handler,
    SubscriberOptions options) {
  return add(std::make_shared<Subscriber>(std::move(name), std::move(handler),
                                          std::numeric_limits<std::size_t>::max(), std::move(options)));
}

SubscriptionId Publisher::add(std::shared_ptr<Subscriber> subscriber) {
  if (subscriber->options.queue == 0) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("subscriber \"{}\": its queue must hold at least 1 message", subscriber->state.name));
  }
  const auto from = subscriber->options.from;
  const std::scoped_lock lock(mutex_);
  if (closed_) throw is_closed();
  subscriber->state.id = next_id_++;
  for (const auto& message : history_) {
    if (!from || message->offset < *from) continue;
    subscriber->offer(message);
  }
  subscriber->thread = std::thread([subscriber] { Subscriber::serve(subscriber); });
  subscribers_.push_back(subscriber);
  return subscriber->state.id;
}

void Publisher::unsubscribe(SubscriptionId id) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(subscribers_, id, [](const auto& subscriber) { return subscriber->state.id; });
  if (found == subscribers_.end()) throw Error(ErrorCode::not_found, fmt::format("there is no subscription {}", id));
  (*found)->end(true);
  if ((*found)->thread.joinable()) (*found)->thread.detach();
  subscribers_.erase(found);
}

bool Publisher::close(Milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  // Whoever takes a thread out of its subscriber joins or detaches it.
  std::vector<std::pair<std::shared_ptr<Subscriber>, std::thread>> open;
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    for (const auto& expected : std::exchange(expected_, {})) {
      if (const auto waits = expected.lock()) waits->over_->arrive(std::make_exception_ptr(is_closed()));
    }
    for (const auto& subscriber : subscribers_) {
      if (subscriber->thread.joinable()) open.emplace_back(subscriber, std::move(subscriber->thread));
    }
  }
  for (const auto& [subscriber, thread] : open) subscriber->end(false);
  bool all = true;
  for (auto& [subscriber, thread] : open) {
    std::unique_lock lock(subscriber->mutex);
    if (subscriber->changed.wait_until(lock, until, [&] { return subscriber->ended; })) {
      lock.unlock();
      thread.join();
    } else {
      all = false;
      subscriber->state.dropped += subscriber->queue.size();
      subscriber->queue.clear();
      lock.unlock();
      thread.detach();
    }
  }
  return all;
}

std::vector<SubscriberState> Publisher::subscribers() const {
  const std::scoped_lock lock(mutex_);
  std::vector<SubscriberState> states;
  for (const auto& subscriber : subscribers_) {
    const std::scoped_lock inner(subscriber->mutex);
    states.push_back(subscriber->state);
    states.back().waiting = subscriber->queue.size();
  }
  return states;
}

bool Publisher::has_subscribers() const {
  const std::scoped_lock lock(mutex_);
  return !subscribers_.empty();
}

std::uint64_t Publisher::next_offset() const {
  const std::scoped_lock lock(mutex_);
  return next_offset_;
}

}  // namespace sojourn::flow
