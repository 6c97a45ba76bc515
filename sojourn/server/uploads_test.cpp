#include "sojourn/server/uploads.hpp"

#include <gmock/gmock.h>

#include <optional>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::server {

namespace {

namespace fs = std::filesystem;

constexpr int waiting_of_one = 1'000;
constexpr int running_of_one = 16;

// An empty body; a held one does not end before it is let go.
class Body final : public http::Responder {
 public:
  explicit Body(bool held) : held_(held) {}

  Async<void> send(http::Response) override { co_return; }
  Async<void> start(http::Response, std::optional<std::uint64_t>) override { co_return; }
  Async<void> write(std::string) override { co_return; }
  Async<void> client_gone() override { co_return; }
  Async<std::string> read() override {
    ++readers_;
    began_.notify_all();
    while (held_) co_await let_go_.wait();
    co_return "";
  }

  Async<void> wait_for_readers(int count) {
    while (readers_ < count) co_await began_.wait();
  }
  void let_go() {
    held_ = false;
    let_go_.notify_all();
  }

 private:
  bool held_;
  int readers_ = 0;
  Event began_;
  Event let_go_;
};

class UploadsTest : public testing::Test {
 protected:
  UploadsTest() {
    store_.emplace(data_.path());
    store_->open();
    uploads_.emplace(*store_, clock_, random_, blocking_);
  }

  Uploads::Ticket announce(std::string owner) { return uploads_->announce({.name = "a"}, std::move(owner)); }

  std::optional<ErrorCode> refusal_of_announcement(std::string owner) {
    try {
      announce(std::move(owner));
    } catch (const Error& error) {
      return error.code();
    }
    return std::nullopt;
  }

  static Async<void> upload(UploadsTest& test, std::string owner, Body& body) {
    const http::Request request{.method = http::Method::put};
    const Uploads::Ticket ticket = test.announce(std::move(owner));
    co_await test.uploads_->receive(ticket.id, ticket.token, request, body);
  }

  static Async<std::optional<ErrorCode>> refusal_of_upload(UploadsTest& test, std::string owner) {
    Body body(false);
    try {
      co_await upload(test, std::move(owner), body);
    } catch (const Error& error) {
      co_return error.code();
    }
    co_return std::nullopt;
  }

  static Async<void> hold_all_running(UploadsTest& test) {
    Body held(true);
    TaskGroup running(test.loop_.executor());
    for (int i = 0; i < running_of_one; ++i) running.spawn(upload(test, "ann", held));
    co_await held.wait_for_readers(running_of_one);
    EXPECT_EQ(co_await refusal_of_upload(test, "ann"), ErrorCode::queue_full);
    EXPECT_EQ(co_await refusal_of_upload(test, "bob"), std::nullopt);
    held.let_go();
    co_await running.join();
    EXPECT_EQ(co_await refusal_of_upload(test, "ann"), std::nullopt);
  }

  static Async<void> upload_one_of_all_waiting(UploadsTest& test) {
    Body body(false);
    for (int i = 0; i < waiting_of_one - 1; ++i) test.announce("ann");
    co_await upload(test, "ann", body);
    EXPECT_EQ(test.refusal_of_announcement("ann"), std::nullopt);
    EXPECT_EQ(test.refusal_of_announcement("ann"), ErrorCode::queue_full);
    test.clock_.advance(limits::upload_time);
    for (int i = 0; i < waiting_of_one; ++i) EXPECT_EQ(test.refusal_of_announcement("ann"), std::nullopt);
  }

  TemporaryFolder data_;
  Loop loop_;
  ManualClock clock_;
  SeededRandom random_{5};
  BlockingPool blocking_{1};
  std::optional<FileStore> store_;
  std::optional<Uploads> uploads_;
};

TEST_F(UploadsTest, WhatOneKeyAnnouncesLeavesRoomForOthersAndIsForgottenInTime) {
  for (int i = 0; i < waiting_of_one; ++i) announce("ann");
  EXPECT_EQ(refusal_of_announcement("ann"), ErrorCode::queue_full);
  EXPECT_EQ(refusal_of_announcement("bob"), std::nullopt);
  clock_.advance(limits::upload_time);
  EXPECT_EQ(refusal_of_announcement("ann"), std::nullopt);
}

TEST_F(UploadsTest, AnUploadThatIsOverMakesRoomForAnother) {
  loop_.run(upload_one_of_all_waiting(*this));
}

TEST_F(UploadsTest, UploadsOfOneKeyThatRunLeaveRoomForOthers) {
  loop_.run(hold_all_running(*this));
}

}  // namespace

}  // namespace sojourn::server
