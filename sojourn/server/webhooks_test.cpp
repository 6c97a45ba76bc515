#include "sojourn/server/webhooks.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

namespace sojourn::server {

namespace {

using runtime::RuntimeTest;
using testing::HasSubstr;
using Status = store::Webhook::Status;

TEST(WebhookSignature, IsThatOfTheStandard) {  // the example of standardwebhooks.com
  const std::string key = parse_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_EQ(webhook_signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(WebhookSecret, IsRefusedInAnyOtherShape) {
  for (const char* text : {"", "secret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_",
                           "whsec_c2hvcnQ=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!"}) {
    EXPECT_THROW(parse_webhook_secret(text), Error) << text;
  }
}

TEST(WebhookDelay, GrowsFourfoldUpToABound) {
  EXPECT_EQ(webhook_delay(1, 255), Seconds(1));
  EXPECT_EQ(webhook_delay(1, 0), Milliseconds(500));
  EXPECT_EQ(webhook_delay(2, 255), Seconds(4));
  EXPECT_EQ(webhook_delay(5, 255), Seconds(256));
  EXPECT_EQ(webhook_delay(10, 255), Seconds(4 * 3'600));
  EXPECT_EQ(webhook_delay(1'000'000, 0), Seconds(2 * 3'600));
}

class WebhooksTest : public RuntimeTest {
 public:
  static WebhooksTest& of(RuntimeTest& test) { return dynamic_cast<WebhooksTest&>(test); }

  std::unique_ptr<Webhooks> make(bool allow_private) {
    return std::make_unique<Webhooks>(loop.executor(), *runtime, store, clock, random, log,
                                      WebhookOptions{.key = std::string(32, 'k'), .allow_private = allow_private});
  }

  // A call that is over and to be told to `url`.
  Async<std::string> call_for(Webhooks& webhooks, std::string url) {
    const runtime::TaskView view = co_await runtime->run(
        {.app = "app", .session = "new", .webhook = co_await webhooks.accept(std::move(url), false)});
    co_return view.task.id;
  }

  Async<store::Webhook> webhook(std::string task_id) {
    co_return (co_await runtime->task(std::move(task_id))).task.webhook.value();
  }

  // Waits until so many attempts were made, which takes real connections and no time of the clock.
  Async<void> attempts(std::string task_id, unsigned count) {
    while ((co_await webhook(task_id)).attempts < count) co_await settle();
  }
};

TEST_F(WebhooksTest, OneThatNobodyTakesIsTriedEverLaterAndThenGivenUp) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    WebhooksTest& test = of(base);
    const auto webhooks = test.make(true);
    const std::string id = co_await test.call_for(*webhooks, "http://127.0.0.1:1/told");  // where nobody listens
    webhooks->look();
    for (unsigned attempt = 1; attempt < Webhooks::most_attempts; ++attempt) {
      co_await test.attempts(id, attempt);
      const store::Webhook failed = co_await test.webhook(id);
      EXPECT_EQ(failed.status, Status::owed);
      EXPECT_EQ(failed.attempts, attempt);
      EXPECT_THAT(failed.error, HasSubstr("http://127.0.0.1:1: no connection"));
      const Microseconds wait = failed.next_at - test.clock.now();
      EXPECT_LE(wait, webhook_delay(attempt, 255));
      EXPECT_GE(wait, webhook_delay(attempt, 0));
      co_await test.pass(wait - Microseconds(1));
      EXPECT_EQ((co_await test.webhook(id)).attempts, attempt);
      co_await test.pass(Microseconds(1));
    }
    co_await test.attempts(id, Webhooks::most_attempts);
    EXPECT_EQ((co_await test.webhook(id)).status, Status::given_up);
    const WebhookStatistics counted = co_await webhooks->statistics();
    EXPECT_EQ(counted.delivered, 0u);
    EXPECT_EQ(counted.failed, Webhooks::most_attempts - 1);
    EXPECT_EQ(counted.given_up, 1u);
    EXPECT_EQ(counted.open, 0u);
    co_await webhooks->close();
  });
}

TEST_F(WebhooksTest, GoesToNoPrivateAddressHoweverItIsWritten) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    WebhooksTest& test = of(base);
    const auto webhooks = test.make(false);
    for (const char* url :
         {"http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "http://2130706433:1/", "http://0x7f.1:1/",
          "http://[::ffff:127.0.0.1]:1/", "https://10.0.0.1/", "http://169.254.169.254/latest/meta-data/"}) {
      const std::string id = co_await test.call_for(*webhooks, url);
      webhooks->look();
      co_await test.attempts(id, 1);
      EXPECT_THAT((co_await test.webhook(id)).error, HasSubstr("is not one of the public Internet")) << url;
    }
    co_await webhooks->close();
  });
}

TEST_F(WebhooksTest, OpenWebhooksBoundsThoseThatWait) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    WebhooksTest& test = of(base);
    const auto webhooks = test.make(true);
    const std::string session = co_await test.new_session();
    const store::SessionRecord record = (co_await test.store.load(session))->record;
    store::Commit commit{
        .session_id = session, .epoch = record.epoch, .version = record.version, .head = record.head};
    for (std::size_t i = 0; i < limits::open_webhooks; ++i) {
      store::TaskRecord task{.id = fmt::format("task_{}", i), .session_id = session, .seq = 2 + i};
      task.webhook = store::Webhook{.url = "http://a/", .origin = "http://a:80"};
      commit.tasks.push_back(std::move(task));
    }
    store::TaskRecord last = commit.tasks.back();
    commit.tasks.pop_back();
    co_await test.store.commit(commit);
    co_await webhooks->accept("http://a/", false);
    commit.version += 1;
    commit.tasks = {last};
    co_await test.store.commit(commit);
    EXPECT_EQ(co_await RuntimeTest::code_of(webhooks->accept("http://a/", false)), ErrorCode::unavailable);
    co_await webhooks->close();
  });
}

TEST_F(WebhooksTest, WhatIsBrokenOffByTheEndOfItsServerIsStillOwed) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    WebhooksTest& test = of(base);
    const auto webhooks = test.make(true);
    const std::string id = co_await test.call_for(*webhooks, "http://127.0.0.1:1/");
    EXPECT_EQ((co_await webhooks->statistics()).open, 1u);
    webhooks->look();
    co_await webhooks->close();
    const store::Webhook left = co_await test.webhook(id);
    EXPECT_EQ(left.status, Status::owed);
    EXPECT_LE(left.attempts, 1u);
  });
}

}  // namespace

}  // namespace sojourn::server
