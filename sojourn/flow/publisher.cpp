#include "sojourn/flow/publisher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <thread>
#include <utility>

#include "sojourn/base/loop.hpp"

namespace sojourn::flow {

using Batch = std::vector<std::shared_ptr<const Message>>;

struct Publisher::Subscriber {
  using Handler = std::function<void(std::span<const std::shared_ptr<const Message>>)>;

  Subscriber(std::string its_name, Handler handler, SubscriberOptions its_options)
      : state{.id = 0, .name = std::move(its_name)}, handle(std::move(handler)), options(std::move(its_options)) {}

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
      const Batch batch(std::make_move_iterator(self->queue.begin()), std::make_move_iterator(self->queue.end()));
      self->queue.clear();
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
  const SubscriberOptions options;
  std::thread thread;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<const Message>> queue;
  bool ends = false;
  bool ended = false;
};

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
    if (!subscriber->options.wants || subscriber->options.wants(*message)) subscriber->push(message);
  }
}

SubscriptionId Publisher::subscribe(std::string name, MessageHandler handler, SubscriberOptions options) {
  // One that throws for one message still gets the next.
  return subscribe_batches(
      std::move(name),
      [handler = std::move(handler)](std::span<const std::shared_ptr<const Message>> batch) {
        std::exception_ptr first;
        for (const auto& message : batch) {
          try {
            handler(*message);
          } catch (...) {
            if (!first) first = std::current_exception();
          }
        }
        if (first) std::rethrow_exception(first);
      },
      std::move(options));
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
  const auto from = options.from;
  auto subscriber = std::make_shared<Subscriber>(std::move(name), std::move(handler), std::move(options));
  const std::scoped_lock lock(mutex_);
  if (closed_) throw Error(ErrorCode::unavailable, "the flow session is closed and publishes nothing more");
  subscriber->state.id = next_id_++;
  for (const auto& message : history_) {
    if (!from || message->offset < *from) continue;
    if (!subscriber->options.wants || subscriber->options.wants(*message)) subscriber->push(message);
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
  (*found)->thread.detach();
  subscribers_.erase(found);
}

bool Publisher::close(Milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  std::vector<std::shared_ptr<Subscriber>> open;
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    open = subscribers_;
  }
  for (const auto& subscriber : open) subscriber->end(false);
  bool all = true;
  for (const auto& subscriber : open) {
    if (!subscriber->thread.joinable()) continue;
    std::unique_lock lock(subscriber->mutex);
    if (subscriber->changed.wait_until(lock, until, [&] { return subscriber->ended; })) {
      lock.unlock();
      subscriber->thread.join();
    } else {
      all = false;
      subscriber->state.dropped += subscriber->queue.size();
      subscriber->queue.clear();
      lock.unlock();
      subscriber->thread.detach();
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

std::uint64_t Publisher::next_offset() const {
  const std::scoped_lock lock(mutex_);
  return next_offset_;
}

}  // namespace sojourn::flow
