#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/http/server_fixture.hpp"

// Streamed answers, clients that go away, and closing the server.
namespace sojourn::http {
namespace {

using testing::HasSubstr;

class StreamTest : public ServerFixture {
 public:
  Async<void> chunk_by_chunk() {
    RawClient* client = co_await connect();
    co_await client->send(get("/stream"));
    const std::string head = co_await client->receive_until("\r\n\r\n");
    EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_EQ(head.find("Content-Length"), std::string::npos);
    EXPECT_EQ(co_await client->receive_until("one\n\r\n"), "4\r\none\n\r\n");
    go_on_.notify_all();
    EXPECT_EQ(co_await client->receive_until("two\n\r\n"), "4\r\ntwo\n\r\n");
    go_on_.notify_all();
    EXPECT_EQ(co_await client->receive_until("three\n\r\n"), "6\r\nthree\n\r\n");
    go_on_.notify_all();
    EXPECT_EQ(co_await client->receive_until("0\r\n\r\n"), "0\r\n\r\n");
    co_await client->send(get("/echo"));
    EXPECT_EQ((co_await client->receive())->body, "GET ");
  }

  Async<void> broken_off() {
    RawClient* client = co_await connect();
    co_await client->send(get("/stream-throw"));
    const std::string bytes = co_await client->receive_rest();
    EXPECT_TRUE(bytes.ends_with("4\r\none\n\r\n")) << bytes;
  }

  Async<void> waits_for_slow_reader() {
    RawClient* client = co_await connect();
    co_await client->send(get("/flood"));
    co_await settle();
    const int before = chunks_written_;
    EXPECT_LT(before, 64);
    co_await settle();
    EXPECT_EQ(chunks_written_, before);
    EXPECT_EQ((co_await client->receive())->body.size(), 64u << 20);
    EXPECT_EQ(chunks_written_, 64);
  }

  Async<void> gives_up_on_a_client_that_reads_nothing() {
    co_await (co_await connect())->send(get("/flood"));
    co_await settle();
    clock_.advance(Seconds(59));
    co_await settle();
    EXPECT_EQ(notes_, "");
    clock_.advance(Seconds(2));
    co_await settle();
    EXPECT_EQ(notes_, "connection_failed");
  }

  Async<void> tells_that_the_client_broke_off() {
    RawClient* client = co_await connect();
    co_await client->send(get("/flood"));
    co_await settle();
    client->close();
    co_await settle();
    EXPECT_EQ(notes_, "connection_failed");
  }

  Async<void> notices_close() {
    RawClient* client = co_await connect();
    co_await client->send(get("/watch"));
    co_await settle();
    EXPECT_EQ(notes_, "");
    client->close();
    co_await settle();
    EXPECT_EQ(notes_, "gone ");
  }

  Async<void> watch_ends_with_handler() {
    RawClient* client = co_await connect();
    co_await client->send(get("/watch"));
    co_await settle();
    go_on_.notify_all();
    EXPECT_EQ((co_await client->receive())->body, "watched");
    co_await settle();
    EXPECT_EQ(notes_, "gone ");
    EXPECT_EQ(group_.size(), 0u);
    co_await client->send(get("/echo"));
    EXPECT_EQ((co_await client->receive())->body, "GET ");
  }

  Async<void> watch_eats_nothing() {
    RawClient* client = co_await connect();
    co_await client->send(get("/watch"));
    co_await settle();
    const std::string large(200'000, 'p');
    group_.spawn(client->send(post("ahead") + get("/watch") + post(large)));
    co_await settle();
    EXPECT_EQ(notes_, "");
    go_on_.notify_all();
    EXPECT_EQ((co_await client->receive())->body, "watched");
    EXPECT_EQ((co_await client->receive())->body, "POST ahead");
    co_await settle();
    go_on_.notify_all();
    EXPECT_EQ((co_await client->receive())->body, "watched");
    EXPECT_EQ((co_await client->receive())->body, "POST " + large);
  }
};

TEST_F(StreamTest, SendsEachChunkAtOnceAndKeepsTheConnection) {
  run(chunk_by_chunk());
}
TEST_F(StreamTest, IsCutOffWhenItsHandlerFails) {
  run(broken_off());
}
TEST_F(StreamTest, WaitsForAClientThatReadsSlowly) {
  run(waits_for_slow_reader());
}
TEST_F(StreamTest, GivesUpOnAClientThatReadsNothing) {
  run(gives_up_on_a_client_that_reads_nothing());
}
TEST_F(StreamTest, FailsWhenTheClientBreaksOff) {
  run(tells_that_the_client_broke_off());
}
TEST_F(StreamTest, NoticesThatTheClientIsGone) {
  run(notices_close());
}
TEST_F(StreamTest, WatchesForTheClientNoLongerThanItsHandlerRuns) {
  run(watch_ends_with_handler());
}
TEST_F(StreamTest, KeepsWhatTheClientSendsAheadWhileWatching) {
  run(watch_eats_nothing());
}

class ClosingTest : public ServerFixture {
 public:
  Async<void> lets_requests_finish() {
    RawClient* busy = co_await connect();
    RawClient* idle = co_await connect();
    co_await busy->send(get("/wait"));
    co_await settle();
    server_->stop_accepting();
    EXPECT_EQ(co_await idle->receive_rest(), "");
    go_on_.notify_all();
    const std::string answer = co_await busy->receive_rest();
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(answer.ends_with("waited")) << answer;
  }

  Async<void> takes_no_more() {
    server_->stop_accepting();
    co_await settle();
    RawClient client(loop_.executor());
    EXPECT_THROW(co_await client.connect(port_), boost::system::system_error);
  }

  Async<void> close_and_note(Instant deadline) {
    co_await server_->close(deadline);
    notes_ += "closed";
  }

  Async<void> breaks_off_at_the_deadline() {
    RawClient* waiting = co_await connect();
    RawClient* reading_nothing = co_await connect();
    co_await waiting->send(get("/wait"));
    co_await reading_nothing->send(get("/large"));
    co_await settle();
    group_.spawn(close_and_note(clock_.instant() + Seconds(5)));
    co_await settle();
    EXPECT_EQ(notes_, "waiting ");
    clock_.advance(Seconds(5));
    EXPECT_EQ(co_await waiting->receive_rest(), "");
    co_await settle();
    EXPECT_EQ(notes_, "waiting closed");
    co_await server_->close(clock_.instant());
  }

  // Who watches for the client is released too: both the one that waits for it and the one whose buffer is full.
  Async<void> releases_watchers() {
    RawClient* one = co_await connect();
    RawClient* other = co_await connect();
    co_await one->send(get("/watch"));
    co_await settle();
    group_.spawn(other->send(get("/watch") + post(std::string(2 << 20, 'p'))));
    co_await settle();
    EXPECT_EQ(notes_, "");
    co_await server_->close(clock_.instant());
    clients_.clear();
    co_await group_.join();
    EXPECT_EQ(notes_, "gone gone ");
  }

  Async<void> is_not_held_up_by_a_stubborn_handler() {
    RawClient* client = co_await connect();
    co_await client->send(get("/stubborn"));
    co_await settle();
    co_await server_->close(clock_.instant());
    EXPECT_EQ(notes_, "asked asked asked ");
    EXPECT_EQ(co_await client->receive_rest(), "");
  }

  Async<void> returns_as_soon_as_all_finished() {
    RawClient* client = co_await connect();
    co_await client->send(get("/wait"));
    co_await settle();
    group_.spawn(close_and_note(clock_.instant() + Seconds(5)));
    co_await settle();
    go_on_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "waiting closed");
    EXPECT_EQ((co_await client->receive())->body, "waited");
  }
};

TEST_F(ClosingTest, LetsRunningRequestsFinish) {
  run(lets_requests_finish());
}
TEST_F(ClosingTest, TakesNoFurtherConnections) {
  run(takes_no_more());
}
TEST_F(ClosingTest, BreaksOffWhatRunsAtTheDeadline) {
  run(breaks_off_at_the_deadline());
}
TEST_F(ClosingTest, ReleasesThoseWhoWatchForTheirClient) {
  run(releases_watchers());
}
TEST_F(ClosingTest, IsNotHeldUpByAHandlerThatWaitsOnWhenAskedToStop) {
  run(is_not_held_up_by_a_stubborn_handler());
}
TEST_F(ClosingTest, ReturnsOnceAllRequestsFinished) {
  run(returns_as_soon_as_all_finished());
}

}  // namespace
}  // namespace sojourn::http
