#include "sojourn/store/outbox.hpp"

#include <gmock/gmock.h>

#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

// What every outbox promises.
namespace sojourn::store {

namespace {

using testing::IsEmpty;
using testing::SizeIs;
using Status = Webhook::Status;

template <class Kind>
std::unique_ptr<Kind> open_in(const TemporaryFolder& folder) {
  if constexpr (std::is_same_v<Kind, SqliteStore>) {
    return SqliteStore::open({.folder = folder.path()});
  } else {
    return std::make_unique<MemoryStore>();
  }
}

template <class Kind>
class Outboxes : public testing::Test {
 public:
  ~Outboxes() override { run(store_->close()); }

  TaskRecord told_task(const std::string& id, const std::string& origin, TaskStatus status) {
    TaskRecord task = new_task(id, "sess_1", 1, "");
    task.status = status;
    task.webhook = Webhook{.url = origin + "/told", .origin = origin, .bare = true};
    return task;
  }

  void write(TaskRecord task) {
    Commit commit = session_.next({});
    commit.tasks = {std::move(task)};
    session_.write(*store_, commit);
  }

  OwedWebhooks owed(Time now = start_time, std::size_t limit = 10, std::set<std::string> busy = {}) {
    return run(store_->webhooks_owed(now, limit, std::move(busy)));
  }

  TemporaryFolder folder_;
  std::unique_ptr<Kind> store_ = open_in<Kind>(folder_);
  Writing session_ = write_new(*store_, "sess_1");
};

using Kinds = testing::Types<MemoryStore, SqliteStore>;
TYPED_TEST_SUITE(Outboxes, Kinds);

TYPED_TEST(Outboxes, OweAWebhookFromTheCommitOnThatEndsItsCall) {
  this->write(this->told_task("task_1", "http://a:80", TaskStatus::received));
  EXPECT_THAT(this->owed().due, IsEmpty());
  EXPECT_EQ(run(this->store_->open_webhooks(10)), 1u);

  TaskRecord done = run(this->store_->task("task_1")).value();
  EXPECT_EQ(done.webhook->status, Status::waiting);
  done.status = TaskStatus::failed;
  this->write(done);
  const OwedWebhooks owed = this->owed();
  ASSERT_THAT(owed.due, SizeIs(1));
  EXPECT_EQ(owed.due[0].task_id, "task_1");
  EXPECT_EQ(owed.due[0].webhook.url, "http://a:80/told");
  EXPECT_TRUE(owed.due[0].webhook.bare);
  EXPECT_EQ(owed.due[0].webhook.status, Status::owed);
}

TYPED_TEST(Outboxes, OweOneThatCameWithItsEnd) {
  this->write(this->told_task("task_1", "http://a:80", TaskStatus::completed));
  EXPECT_THAT(this->owed().due, SizeIs(1));
}

TYPED_TEST(Outboxes, OweWhatASettledCallWasToTell) {
  this->write(this->told_task("task_1", "http://a:80", TaskStatus::received));
  std::vector<TaskRecord> open = run(this->store_->load("sess_1"))->open_tasks;
  ASSERT_THAT(open, SizeIs(1));
  open[0].status = TaskStatus::failed;
  this->write(open[0]);
  EXPECT_THAT(this->owed().due, SizeIs(1));
}

TYPED_TEST(Outboxes, RememberHowItWent) {
  this->write(this->told_task("task_1", "http://a:80", TaskStatus::completed));
  Webhook webhook = this->owed().due.at(0).webhook;
  webhook.attempts = 1;
  webhook.next_at = start_time + Seconds(4);
  webhook.error = "no";
  run(this->store_->webhook_tried("task_1", webhook));
  EXPECT_THAT(this->owed().due, IsEmpty());
  EXPECT_EQ(this->owed().next, start_time + Seconds(4));
  EXPECT_EQ(this->owed(start_time + Seconds(4)).due.at(0).webhook, webhook);
  EXPECT_EQ(run(this->store_->task("task_1"))->webhook, webhook);

  webhook.status = Status::delivered;
  run(this->store_->webhook_tried("task_1", webhook));
  EXPECT_THAT(this->owed(start_time + Seconds(9)).due, IsEmpty());
  EXPECT_EQ(this->owed().next, std::nullopt);
  EXPECT_EQ(run(this->store_->open_webhooks(10)), 0u);

  // What is written of the task later leaves it as it is.
  this->write(this->told_task("task_1", "http://a:80", TaskStatus::completed));
  EXPECT_EQ(run(this->store_->task("task_1"))->webhook, webhook);
}

TYPED_TEST(Outboxes, NameTheOneDueForLongestAndLeaveBusyReceiversOut) {
  for (int i = 0; i < 5; ++i) {
    TaskRecord task = this->told_task("task_" + std::to_string(i), i % 2 == 0 ? "http://a:80" : "http://b:80",
                                      TaskStatus::completed);
    task.updated_at = start_time - Seconds(i);
    this->write(task);
  }
  EXPECT_EQ(this->owed(start_time, 2).due.at(0).task_id, "task_4");
  EXPECT_THAT(this->owed(start_time, 2).due, SizeIs(2));
  EXPECT_EQ(this->owed(start_time, 10, {"http://a:80"}).due.at(0).task_id, "task_3");
  EXPECT_THAT(this->owed(start_time, 10, {"http://a:80"}).due, SizeIs(2));
  EXPECT_EQ(run(this->store_->open_webhooks(3)), 3u);
}

}  // namespace

}  // namespace sojourn::store
