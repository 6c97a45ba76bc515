#include "sojourn/flow/publisher.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <semaphore>
#include <thread>

#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Milliseconds long_enough = Seconds(60);

// Broadcasts numbers, and reads them from what subscribers got.
class FlowPublisher : public testing::Test {
 protected:
  void say(int number) { publisher.publish(Time(), BroadcastEvent{.call = std::nullopt, .item = number}); }
  static int number_of(const Message& message) {
    return static_cast<int>(std::get<BroadcastEvent>(message.body).item.as_int64());
  }
  MessageHandler into(std::vector<int>& numbers) {
    return [&numbers](const Message& message) { numbers.push_back(number_of(message)); };
  }

  static std::shared_ptr<const Message> got(Loop& loop, Async<std::shared_ptr<const Message>> wait) {
    std::shared_ptr<const Message> message;
    loop.run([](Async<std::shared_ptr<const Message>> waits, std::shared_ptr<const Message>& out) -> Async<void> {
      out = co_await std::move(waits);
    }(std::move(wait), message));
    return message;
  }

  Publisher publisher;
};

// Cases 35 and 37.
TEST_F(FlowPublisher, DeliversFirstInFirstOutToFunctionsAndCoroutines) {
  std::vector<int> plain, awaited;
  publisher.subscribe("plain", into(plain));
  publisher.subscribe("awaited", std::function<Async<void>(Message)>([&awaited](Message message) -> Async<void> {
                        SystemClock clock;
                        co_await sleep_until(clock, clock.instant());
                        awaited.push_back(number_of(message));
                      }));
  for (int n = 0; n < 200; ++n) say(n);
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_EQ(plain.size(), 200U);
  EXPECT_TRUE(std::ranges::is_sorted(plain));
  EXPECT_EQ(awaited, plain);
}

// Case 39.
TEST_F(FlowPublisher, CountsWhatASubscriberThrowsAndGoesOn) {
  std::vector<int> numbers;
  std::latch two_failed(2);
  publisher.subscribe("bad", MessageHandler([&](const Message& message) {
                        two_failed.count_down();
                        throw std::runtime_error("not " + std::to_string(number_of(message)));
                      }));
  publisher.subscribe("good", into(numbers));
  say(1);
  say(2);
  two_failed.wait();
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_THAT(numbers, ElementsAre(1, 2));
  const auto states = publisher.subscribers();
  EXPECT_EQ(states[0].delivered, 2U);
  EXPECT_EQ(states[0].failed, 2U);
  EXPECT_THAT(states[0].last_error, testing::StartsWith("not "));
}

TEST_F(FlowPublisher, SubscriberThatBlocksDelaysNobody) {
  std::latch door(1), all(100);
  publisher.subscribe("stuck", MessageHandler([&door](const Message&) { door.wait(); }));
  publisher.subscribe("other", MessageHandler([&all](const Message&) { all.count_down(); }));
  for (int n = 0; n < 100; ++n) say(n);
  all.wait();
  door.count_down();
  EXPECT_TRUE(publisher.close(long_enough));
}

TEST_F(FlowPublisher, DropsTheOldestPastASubscribersQueueAndCountsThem) {
  std::binary_semaphore door(0);
  std::latch taken(1);
  std::vector<int> numbers;
  publisher.subscribe("slow", MessageHandler([&](const Message& message) {
                        if (number_of(message) == 0) {
                          taken.count_down();
                          door.acquire();
                        }
                        numbers.push_back(number_of(message));
                      }),
                      {.queue = 3});
  say(0);
  taken.wait();
  for (int n = 1; n <= 10; ++n) say(n);
  EXPECT_EQ(publisher.subscribers().front().waiting, 3U);
  door.release();
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_THAT(numbers, ElementsAre(0, 8, 9, 10));
  EXPECT_EQ(publisher.subscribers().front().dropped, 7U);
}

TEST_F(FlowPublisher, BringsOnlyWhatASubscriberWants) {
  std::vector<std::uint64_t> offsets;
  publisher.subscribe("fatal",
                      MessageHandler([&offsets](const Message& message) { offsets.push_back(message.offset); }),
                      {.wants = is_one_of<FatalFailure>});
  say(1);
  publisher.publish(Time(), FatalFailure{.call = std::nullopt, .message = "end"});
  say(2);
  publisher.close(long_enough);
  EXPECT_THAT(offsets, ElementsAre(1U));
}

TEST_F(FlowPublisher, RepeatsWhatWasSaidFromAnOffsetOn) {
  for (int n = 0; n < 5; ++n) say(n);
  std::vector<int> late, replayed;
  publisher.subscribe("late", into(late));
  publisher.subscribe("replayed", into(replayed), {.from = 3});
  say(5);
  publisher.close(long_enough);
  EXPECT_THAT(late, ElementsAre(5));
  EXPECT_THAT(replayed, ElementsAre(3, 4, 5));
  EXPECT_EQ(publisher.next_offset(), 6U);
}

TEST_F(FlowPublisher, KeepsABoundedHistory) {
  Publisher small(2);
  for (int n = 0; n < 5; ++n) small.publish(Time(), BroadcastEvent{.call = std::nullopt, .item = n});
  std::vector<int> numbers;
  small.subscribe("all", into(numbers), {.from = 0});
  small.close(long_enough);
  EXPECT_THAT(numbers, ElementsAre(3, 4));
}

// Case 40.
TEST_F(FlowPublisher, BringsNothingToWhoHasLeft) {
  std::vector<int> numbers;
  const SubscriptionId first = publisher.subscribe("first", into(numbers));
  const SubscriptionId second = publisher.subscribe("first", into(numbers));
  EXPECT_NE(first, second);
  publisher.unsubscribe(first);
  publisher.unsubscribe(second);
  say(1);
  EXPECT_THROW(publisher.unsubscribe(first), Error);
  EXPECT_THAT(publisher.subscribers(), IsEmpty());
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_THAT(numbers, IsEmpty());
}

TEST_F(FlowPublisher, BeginsNoDeliveryToWhoHasLeftWhileOneRan) {
  std::counting_semaphore<8> door(0), taken(0);
  std::vector<int> numbers;
  std::binary_semaphore gone(0);  // when the subscriber's thread has ended
  std::shared_ptr<int> held(new int, [&gone](const int* number) {
    delete number;
    gone.release();
  });
  const SubscriptionId id =
      publisher.subscribe("leaves", MessageHandler([&, held = std::move(held)](const Message& message) {
                            taken.release();
                            door.acquire();
                            numbers.push_back(number_of(message));
                          }));
  say(0);
  taken.acquire();
  for (int n = 1; n <= 3; ++n) say(n);  // they wait together
  door.release();
  taken.acquire();
  EXPECT_EQ(publisher.subscribers().front().waiting, 2U);
  publisher.unsubscribe(id);
  door.release(3);  // nor would more deliveries be stuck
  gone.acquire();
  EXPECT_THAT(numbers, ElementsAre(0, 1));
}

TEST_F(FlowPublisher, MayBeLeftOnceItIsClosed) {
  const SubscriptionId id = publisher.subscribe("late", MessageHandler([](const Message&) {}));
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_NO_THROW(publisher.unsubscribe(id));
}

TEST_F(FlowPublisher, CountsAQuestionThatThrowsAndAsksAgain) {
  std::vector<int> numbers;
  publisher.subscribe("odd", into(numbers), {.wants = [](const Message& message) {
                        if (number_of(message) == 1) throw std::runtime_error("not one");
                        return true;
                      }});
  EXPECT_NO_THROW(say(1));
  say(2);
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_THAT(numbers, ElementsAre(2));
  EXPECT_EQ(publisher.subscribers().front().failed, 1U);
  EXPECT_EQ(publisher.subscribers().front().last_error, "not one");
}

// Case 41.
TEST_F(FlowPublisher, GivesWhoExpectsAMessageTheFirstThatIsWanted) {
  Loop loop;
  SystemClock clock;
  const auto is_even = [](const Message& message) { return number_of(message) % 2 == 0; };
  say(0);  // before anybody waited
  const auto expected = publisher.expect(loop.executor(), is_even);
  for (const int n : {1, 2, 4}) say(n);
  const auto message = got(loop, expected->wait(clock, clock.instant() + long_enough));
  EXPECT_EQ(number_of(*message), 2);
  EXPECT_EQ(message->offset, 2U);
}

TEST_F(FlowPublisher, LetsAWaitForAMessageEndInTime) {
  Loop loop;
  SystemClock clock;
  const auto code = [&](const std::shared_ptr<Expected>& expected, Instant deadline) {
    try {
      got(loop, expected->wait(clock, deadline));
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal_error;
  };
  const auto expected = publisher.expect(loop.executor(), [](const Message&) { return true; });
  EXPECT_EQ(code(expected, clock.instant()), ErrorCode::call_timeout);
  say(7);  // it may be waited for again
  EXPECT_EQ(number_of(*got(loop, expected->wait(clock, clock.instant() + long_enough))), 7);

  const auto never = publisher.expect(loop.executor(), [](const Message&) { return false; });
  publisher.close(long_enough);
  EXPECT_EQ(code(never, clock.instant() + long_enough), ErrorCode::unavailable);
  EXPECT_THROW(publisher.expect(loop.executor(), [](const Message&) { return true; }), Error);
}

TEST_F(FlowPublisher, TellsWhoExpectsAMessageWhatTheirQuestionThrew) {
  Loop loop;
  SystemClock clock;
  const auto expected =
      publisher.expect(loop.executor(), [](const Message&) -> bool { throw std::domain_error("what?"); });
  say(1);
  EXPECT_THROW(got(loop, expected->wait(clock, clock.instant() + long_enough)), std::domain_error);
}

TEST_F(FlowPublisher, RefusesAQueueThatHoldsNothing) {
  std::vector<int> numbers;
  EXPECT_THROW(publisher.subscribe("none", into(numbers), {.queue = 0}), Error);
}

// Cases 36 and 42. The original dropped what was queued at its shutdown.
TEST_F(FlowPublisher, DeliversWhatWaitsWhenItIsClosedAndTakesNothingMore) {
  std::vector<int> numbers;
  publisher.subscribe("late", into(numbers));
  for (int n = 0; n < 1'000; ++n) say(n);
  EXPECT_TRUE(publisher.close(long_enough));
  EXPECT_TRUE(publisher.close(long_enough));
  say(1'000);
  EXPECT_EQ(numbers.size(), 1'000U);
  EXPECT_THROW(publisher.subscribe("more", into(numbers)), Error);
}

TEST(FlowPublisherAtItsEnd, LeavesASubscriberAloneThatDoesNotReturn) {
  struct Shared {
    std::binary_semaphore door{0};
    std::latch taken{1};
    std::latch left{1};
  };
  const auto shared = std::make_shared<Shared>();
  {
    Publisher publisher;
    publisher.subscribe("stuck", MessageHandler([shared](const Message&) {
                          shared->taken.count_down();
                          shared->door.acquire();
                          shared->left.count_down();
                        }));
    publisher.publish(Time(), FatalFailure{});
    shared->taken.wait();
    EXPECT_FALSE(publisher.close(Milliseconds(1)));
  }
  shared->door.release();
  shared->left.wait();
}

}  // namespace
}  // namespace sojourn::flow
