#include "sojourn/base/event.hpp"

#include <atomic>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <functional>
#include <mutex>
#include <utility>

#include "sojourn/base/loop_end.hpp"

namespace sojourn {

namespace asio = boost::asio;

namespace {

// What waits on the executors of one context. A coroutine that waits is held by its waiter alone, and holds that: it
// is let go with the context, as Asio does with what waits for a socket or a timer.
class Suspended final : public asio::execution_context::service {
 public:
  using key_type = Suspended;
  static inline asio::execution_context::id id;

  // One that waits.
  struct Entry {
    virtual void take_off() = 0;  // its event knows it no more
    virtual void let_go() = 0;    // ends it, and with it perhaps others

    Entry* next = nullptr;
    Entry* previous = nullptr;
    bool is_kept = false;

   protected:
    ~Entry() = default;
  };

  explicit Suspended(asio::execution_context& context) : asio::execution_context::service(context) {}
  ~Suspended() override { gone_.fetch_add(1, std::memory_order_release); }

  // Asio looks through a list under a lock, so each thread remembers what it asked for last.
  static Suspended& of(asio::execution_context& context) {
    struct Known {
      asio::execution_context* context = nullptr;
      Suspended* suspended = nullptr;
      std::uint64_t gone = 0;
    };
    thread_local Known known;
    const std::uint64_t gone = gone_.load(std::memory_order_acquire);
    if (known.context != &context || known.gone != gone) {
      known = {.context = &context, .suspended = &asio::use_service<Suspended>(context), .gone = gone};
    }
    return *known.suspended;
  }

  bool is_ending = false;

  void add(Entry& entry) {
    const std::scoped_lock lock(mutex_);
    entry.next = first_;
    if (first_ != nullptr) first_->previous = &entry;
    first_ = &entry;
    entry.is_kept = true;
  }
  void remove(Entry& entry) {
    const std::scoped_lock lock(mutex_);
    if (!std::exchange(entry.is_kept, false)) return;
    (entry.previous == nullptr ? first_ : entry.previous->next) = entry.next;
    if (entry.next != nullptr) entry.next->previous = entry.previous;
  }

 private:
  // No thread runs anything of the context any more. What goes first may own the events of the others.
  void shutdown() override {
    is_ending = true;
    for (Entry* entry = first_; entry != nullptr; entry = entry->next) entry->take_off();
    while (first_ != nullptr) {
      Entry& entry = *first_;
      remove(entry);
      entry.let_go();
    }
  }

  // How many there were: another context may be where that of one of them was.
  static inline std::atomic<std::uint64_t> gone_ = 0;

  std::mutex mutex_;
  Entry* first_ = nullptr;
};

}  // namespace

// Woken once: by the event, by its deadline, or by cancellation. Whichever it is takes it off the event's list at
// once, so that nothing which happens before the coroutine resumes can reach it, and the coroutine need not reach the
// event.
struct Event::Waiter final : Suspended::Entry {
  enum class Outcome { waiting, notified, late, cancelled };

  explicit Waiter(std::list<Waiter*>& list) : waiters(list), place(list.insert(list.end(), this)) {}
  ~Waiter() {
    take_off();
    if (suspended != nullptr) suspended->remove(*this);
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  void take_off() override {
    if (place) waiters.erase(*std::exchange(place, std::nullopt));
  }

  void suspend(asio::execution_context& context, std::move_only_function<void(boost::system::error_code)> how) {
    resume = std::move(how);
    suspended = &Suspended::of(context);
    suspended->add(*this);
  }

  void let_go() override {
    outcome = Outcome::cancelled;
    suspended = nullptr;
    const auto handler = std::move(resume);  // which may be the last that holds this
  }

  void wake(Outcome how) {
    if (outcome != Outcome::waiting) return;
    outcome = how;
    take_off();
    if (!resume) return;
    std::exchange(suspended, nullptr)->remove(*this);
    auto handler = std::move(resume);
    handler(how == Outcome::cancelled ? asio::error::operation_aborted : boost::system::error_code());
  }

  std::list<Waiter*>& waiters;
  std::optional<std::list<Waiter*>::iterator> place;
  Outcome outcome = Outcome::waiting;
  std::move_only_function<void(boost::system::error_code)> resume;
  Suspended* suspended = nullptr;  // while it is
};

namespace {

// Suspends the calling coroutine until `waiter.wake`.
template <class Waiter>
Async<void> suspend(std::shared_ptr<Waiter> waiter) {
  return asio::async_initiate<const asio::use_awaitable_t<>&, void(boost::system::error_code)>(
      [waiter](auto handler) {
        if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
          slot.assign([weak = std::weak_ptr(waiter)](asio::cancellation_type) {
            if (const auto strong = weak.lock()) strong->wake(Waiter::Outcome::cancelled);
          });
        }
        auto& context = asio::query(asio::get_associated_executor(handler), asio::execution::context);
        waiter->suspend(context, [handler = std::move(handler)](boost::system::error_code error) mutable {
          const auto executor = asio::get_associated_executor(handler);
          asio::post(executor, [handler = std::move(handler), error]() mutable { std::move(handler)(error); });
        });
      },
      asio::use_awaitable);
}

}  // namespace

bool is_ending(const Executor& executor) {
  return Suspended::of(asio::query(executor, asio::execution::context)).is_ending;
}

Event::Event() = default;

Event::~Event() {
  assert(waiters_.empty());
}

void Event::notify_all() {
  while (!waiters_.empty()) waiters_.front()->wake(Waiter::Outcome::notified);
}

Async<void> Event::wait() {
  const auto waiter = std::make_shared<Waiter>(waiters_);
  co_await suspend(waiter);
}

Async<bool> Event::wait_until(Clock& clock, Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  const auto waiter = std::make_shared<Waiter>(waiters_);
  const auto alarm = clock.set_alarm(deadline, executor, [weak = std::weak_ptr(waiter)] {
    if (const auto strong = weak.lock()) strong->wake(Waiter::Outcome::late);
  });
  co_await suspend(waiter);
  co_return waiter->outcome == Waiter::Outcome::notified;
}

Async<void> sleep_until(Clock& clock, Instant when) {
  Event never;
  co_await never.wait_until(clock, when);
}

}  // namespace sojourn
