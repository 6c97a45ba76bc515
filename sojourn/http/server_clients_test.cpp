#include <gmock/gmock.h>

#include <string>

#include "sojourn/http/server_fixture.hpp"

// Clients that are slow, greedy, or gone: each is served within its bounds, and a healthy one beside it goes on.
namespace sojourn::http {
namespace {

using namespace std::string_literals;

class ClientsTest : public ServerFixture {
 public:
  // One request of a client that does nothing wrong.
  Async<void> healthy_is_served(RawClient* healthy) {
    co_await healthy->send(post("healthy"));
    const auto response = co_await healthy->receive();
    EXPECT_TRUE(response && response->body == "POST healthy");
  }

  Async<void> reads_singly() {
    RawClient* slow = co_await connect();
    RawClient* healthy = co_await connect();
    co_await slow->send(get("/large"));
    for (int i = 0; i < 20; ++i) {
      co_await slow->receive_singly(100);
      co_await healthy_is_served(healthy);
    }
    // All but the head and some that were read above.
    co_await slow->receive_until(std::string((4 << 20) - 2000, 'x'));
  }

  Async<void> writes_singly() {
    RawClient* slow = co_await connect();
    RawClient* healthy = co_await connect();
    const std::string request = post(std::string(300, 's'));
    for (const char c : request) {
      co_await slow->send(std::string(1, c));
      co_await healthy_is_served(healthy);
    }
    EXPECT_EQ((co_await slow->receive())->body, "POST " + std::string(300, 's'));
  }

  // Each of them fills the kernel's buffers and then waits: what waits in the server is one chunk of each.
  Async<void> stops_reading_streams() {
    RawClient* healthy = co_await connect();
    for (int i = 0; i < 8; ++i) {
      chunks_written_ = 0;
      co_await (co_await connect())->send(get("/flood"));
      co_await settle();
      EXPECT_LT(chunks_written_, 64);
    }
    const int before = chunks_written_;
    for (int i = 0; i < 50; ++i) {
      clock_.advance(Seconds(1));
      co_await healthy_is_served(healthy);
    }
    EXPECT_EQ(chunks_written_, before);
    EXPECT_EQ(notes_, "");
  }

  Async<void> pipelines_a_thousand() {
    RawClient* client = co_await connect();
    std::string requests;
    for (int i = 0; i < 1000; ++i) requests += post(std::to_string(i));
    group_.spawn(client->send(std::move(requests)));
    for (int i = 0; i < 1000; ++i) {
      const auto response = co_await client->receive();
      if (!response || response->body != "POST " + std::to_string(i)) {
        ADD_FAILURE() << "request " << i << " was answered " << (response ? response->body : "not at all");
        break;
      }
    }
  }

  // Requests are read no faster than their answers are taken.
  Async<void> pipelines_and_reads_nothing() {
    RawClient* greedy = co_await connect();
    RawClient* healthy = co_await connect();
    std::string requests;
    for (int i = 0; i < 100; ++i) requests += get("/large");
    co_await greedy->send(std::move(requests));
    co_await settle();
    const int begun = requests_;
    EXPECT_LT(begun, 10);
    co_await healthy_is_served(healthy);
    EXPECT_EQ(requests_, begun + 1);
  }

  Async<void> storm_of_resets() {
    RawClient* healthy = co_await connect();
    for (int i = 0; i < 2000; ++i) {
      RawClient client(loop_.executor());
      co_await client.connect(port_);
      if (i % 4 == 1) co_await client.send(get("/large"));
      if (i % 4 == 2) co_await client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
      if (i % 4 == 3) co_await client.send("GET /ec");
      client.reset();
      if (i % 100 == 0) co_await healthy_is_served(healthy);
    }
    co_await settle();
    const int before = requests_;
    co_await healthy_is_served(healthy);
    EXPECT_EQ(requests_, before + 1);
    EXPECT_EQ(notes_, "");
    // Only the healthy one is left: the next has the one place beside it.
    EXPECT_EQ((co_await ask(get("/echo"))).status, 200);
  }

  Async<void> leaves_within_its_body() {
    RawClient* client = co_await connect();
    co_await client->send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    co_await settle();
    client->half_close();
    EXPECT_EQ(co_await client->receive_rest(), "");
    EXPECT_EQ(requests_, 0);
  }

  Async<void> more_than_its_length() {
    RawClient* client = co_await connect();
    co_await client->send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhello");
    EXPECT_EQ((co_await client->receive())->body, "POST he");
    co_await client->send("\r\n\r\n" + get("/wait"));
    EXPECT_EQ((co_await client->receive())->status, 400);
    EXPECT_EQ(co_await client->receive_rest(), "");
    EXPECT_EQ(notes_, "");
  }

  // Such a client never hangs up, so it must be told before it sent a whole header.
  Async<void> speaks_tls() {
    RawClient* client = co_await connect();
    co_await client->send("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"s);
    EXPECT_EQ((co_await client->receive())->status, 400);
    EXPECT_EQ(co_await client->receive_rest(), "");
  }
};

TEST_F(ClientsTest, AReaderOfSingleBytesGetsAllAndHoldsNobodyUp) {
  run(reads_singly());
}
TEST_F(ClientsTest, AWriterOfSingleBytesIsServedAndHoldsNobodyUp) {
  run(writes_singly());
}
TEST_F(ClientsTest, ReadersThatStopWithinAStreamCostOneChunkEachAndHoldNobodyUp) {
  run(stops_reading_streams());
}
TEST_F(ClientsTest, AThousandPipelinedRequestsAreAnsweredInOrder) {
  run(pipelines_a_thousand());
}
TEST_F(ClientsTest, RequestsAreReadNoFasterThanTheirAnswersAreTaken) {
  run(pipelines_and_reads_nothing());
}
TEST_F(ClientsTest, AStormOfResetsLeavesNothingBehind) {
  limits_.connections = 40;
  run(storm_of_resets());
}
TEST_F(ClientsTest, AClientThatLeavesWithinItsBodyReachesNoHandler) {
  run(leaves_within_its_body());
}
TEST_F(ClientsTest, WhatFollowsABodyIsTheNextRequestAndRefusedAsSuch) {
  run(more_than_its_length());
}
TEST_F(ClientsTest, AClientThatSpeaksTlsIsRefusedAtOnce) {
  run(speaks_tls());
}

}  // namespace
}  // namespace sojourn::http
