#include "sojourn/client/client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sojourn/base/error_of_test.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/client/fake_server.hpp"

// The client against a server that says what a test tells it to; tests/client has one that is real.
namespace sojourn::client {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using Reply = FakeServer::Reply;

const Reply lost{.raw = ""};  // no answer
const Reply session{.body = R"({"id":"sess_1","status":"active"})"};

Reply task(int status, std::string more = {}) {
  return {.body = R"({"id":"task_1","session_id":"sess_1","status":)" + std::to_string(status) + more + "}"};
}

Reply refusal(int status, std::string error, std::string headers = {}) {
  return {.status = status, .body = R"({"error":)" + error + "}", .headers = std::move(headers)};
}

Reply lines(std::vector<std::string> texts) {
  Reply reply;
  for (const std::string& text : texts) reply.body += text + "\n";
  return reply;
}

// The same, but its connection breaks off where more was promised.
Reply broken(std::vector<std::string> texts) {
  return {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + lines(std::move(texts)).body};
}

std::string line(int status, std::string more = {}) {
  return task(status, std::move(more)).body;
}

std::string delta(int seq) {
  return R"({"event":"delta","data":{"delta":"d)" + std::to_string(seq) + R"(","seq":)" + std::to_string(seq) + "}}";
}

Json body_of_request(const std::string& request) {
  return parse_json(request.substr(request.find("\r\n\r\n") + 4));
}

std::string key_of(const std::string& request) {
  const auto at = request.find("Idempotency-Key: ");
  return at == std::string::npos ? "" : request.substr(at + 17, request.find('\r', at) - at - 17);
}

Options never_again(const FakeServer& server) {
  Options options;
  options.url = server.url();
  options.retries = 0;
  return options;
}

TEST(Client, SendsWhatTheServerWantsToKnow) {
  FakeServer server({task(10, R"(,"output":{"n":1})")});
  const Task done =
      Client(server.url(), "sjn_k").run({.app = "a", .input = 7, .options = {.idempotency_key = "mine"}});
  EXPECT_EQ(done.output(), parse_json(R"({"n":1})"));
  const std::string request = server.requests().at(0);
  EXPECT_THAT(request, AllOf(StartsWith("POST /apps/run HTTP/1.1\r\n"), HasSubstr("Authorization: Bearer sjn_k\r\n"),
                             HasSubstr("X-API-Version: 2\r\n"), HasSubstr("Content-Type: application/json\r\n"),
                             HasSubstr("Idempotency-Key: mine\r\n")));
  EXPECT_EQ(body_of_request(request), parse_json(R"({"app":"a","input":7,"wait":true})"));
}

TEST(Client, RefusesOptionsThatCannotBe) {
  for (const char* url :
       {"ftp://127.0.0.1:1", "https://", "https://a.example/path", "https://a.example?q", "a b:1"}) {
    EXPECT_EQ(error_of([url] { Client{url}; }).code(), ErrorCode::config_invalid) << url;
  }
  EXPECT_EQ(error_of([] { Client("http://127.0.0.1:1", "a\r\nb"); }).code(), ErrorCode::config_invalid);
  EXPECT_EQ(error_of([] { Client(Options{.timeout = Milliseconds(0)}); }).code(), ErrorCode::config_invalid);
}

TEST(Client, ReadsTheAddressOfAServer) {
  const http::Url plain = parse_server_url("http://[::1]:8080");
  EXPECT_EQ(plain.host, "::1");
  EXPECT_EQ(plain.port, 8080);
  EXPECT_FALSE(plain.is_https);
  EXPECT_EQ(parse_server_url("a.example:8080").host, "a.example");
  const http::Url secret = parse_server_url("https://a.example");
  EXPECT_TRUE(secret.is_https);
  EXPECT_EQ(secret.port, 443);
  EXPECT_EQ(parse_server_url("https://a.example:8443/").port, 8443);
}

TEST(Client, TellsARefusalWithItsCodeDetailsAndWhetherARetryCanHelp) {
  FakeServer server({refusal(410, R"({"code":"SESSION_ENDED","message":"session ended: s","details":{"a":1}})"),
                     refusal(418, R"({"code":"new_word","message":"odd","retryable":true})")});
  Client client(server.url());
  const Error ended = error_of([&] { client.attach("s").call(); });
  EXPECT_EQ(ended.code(), ErrorCode::session_ended);
  EXPECT_EQ(ended.message(), "session ended: s");
  EXPECT_EQ(ended.details(), (JsonObject{{"a", 1}}));
  EXPECT_FALSE(ended.retryable());
  const Error odd = error_of([&] { client.attach("s").info(); });
  EXPECT_EQ(odd.details().at("code"), Json("new_word"));
  EXPECT_TRUE(odd.retryable());
}

TEST(Client, SaysThatWhatAnswersIsNoSojournServer) {
  FakeServer server({{.body = "<html>"},
                     {.body = "[]"},
                     {.status = 302, .headers = "Location: http://elsewhere/\r\n"},
                     {.status = 404, .body = R"({"error":"none"})"}});
  Client client(server.url());
  for (const char* said : {"says '<html>'", "no session", "leads to http://elsewhere/", "status 404"}) {
    const Error error = error_of([&] { client.attach("s").info(); });
    EXPECT_EQ(error.code(), ErrorCode::connection_failed);
    EXPECT_THAT(error.message(), HasSubstr(said));
    EXPECT_FALSE(error.retryable());
  }
  EXPECT_EQ(server.requests().size(), 4U);  // and it was not asked again
}

TEST(Client, TakesWhereACallStandsAsTheAnswerToACancel) {
  FakeServer server({{.body = R"({"id":"t","status":8,"status_text":"cancelling"})"}});
  EXPECT_EQ(Client(server.url()).cancel("t").status(), "cancelling");
}

TEST(Client, AsksForACallAgainByItsKeyWhenTheAnswerIsLostAndThenFollowsIt) {
  FakeServer server({lost, task(7), lines({line(7), line(10, R"(,"output":1)")})});
  EXPECT_EQ(Client(server.url()).run({.app = "a"}).output(), Json(1));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(key_of(requests[0]).size(), 32U);
  EXPECT_EQ(key_of(requests[0]), key_of(requests[1]));
  EXPECT_EQ(body_of_request(requests[0]).at("wait"), Json(true));
  EXPECT_EQ(body_of_request(requests[1]).at("wait"), Json(false));
  EXPECT_THAT(requests[2], StartsWith("GET /tasks/task_1/stream "));
}

TEST(Client, GivesEachCallAKeyOfItsOwn) {
  FakeServer server({task(10), task(10)});
  Client client(server.url());
  client.run({.app = "a"});
  client.run({.app = "a"});
  EXPECT_NE(key_of(server.requests().at(0)), key_of(server.requests().at(1)));
}

TEST(Client, NeverAsksAgainWithoutRetriesAndThenMakesNoKeys) {
  FakeServer server({lost, task(10)});
  EXPECT_EQ(error_of([&] { Client(never_again(server)).run({.app = "a"}); }).code(), ErrorCode::connection_failed);
  ASSERT_EQ(server.requests().size(), 1U);
  EXPECT_EQ(key_of(server.requests()[0]), "");
  EXPECT_EQ(body_of_request(server.requests()[0]).at("wait"), Json(false));
}

TEST(Client, MakesANewSessionOnceAlthoughTheAnswerIsLost) {
  FakeServer server({lost, session, {.status = 204}});
  {
    EXPECT_EQ(Client(server.url()).session({.app = "a"}).id(), "sess_1");
  }
  const auto requests = server.requests();
  EXPECT_THAT(requests, ElementsAre(StartsWith("POST /sessions "), StartsWith("POST /sessions "),
                                    StartsWith("DELETE /sessions/sess_1 ")));
  EXPECT_EQ(key_of(requests[0]), key_of(requests[1]));
  EXPECT_EQ(key_of(requests[0]).size(), 32U);
}

TEST(Client, AsksAgainWhatIsRefusedAsTooBusyAndNothingElse) {
  FakeServer busy({refusal(503, R"({"code":"unavailable","message":"busy","retryable":true})"), task(10)});
  EXPECT_TRUE(Client(busy.url()).run({.app = "a"}).is_completed());
  FakeServer full({refusal(429, R"({"code":"queue_full","message":"full","retryable":false})"), task(10)});
  EXPECT_EQ(error_of([&] { Client(full.url()).run({.app = "a"}); }).code(), ErrorCode::queue_full);
  FakeServer conflict({refusal(409, R"({"code":"conflict","message":"both","retryable":true})"), task(10)});
  EXPECT_EQ(error_of([&] { Client(conflict.url()).run({.app = "a"}); }).code(), ErrorCode::conflict);
}

// Coroutines on a clock that the test turns.
class PauseTest : public testing::Test {
 protected:
  // Whether a pause before this attempt came to be, and how long it took.
  std::pair<bool, Milliseconds> pause(unsigned attempt, Milliseconds at_least, Milliseconds left = Seconds(900)) {
    Transport transport(loop_.executor(), clock_, {});
    bool paused = false;
    const Instant before = clock_.instant();
    TaskGroup group(loop_.executor());
    loop_.run(pass(transport, attempt, at_least, left, group, paused));
    return {paused, std::chrono::duration_cast<Milliseconds>(clock_.instant() - before)};
  }

 private:
  Async<void> pass(Transport& transport, unsigned attempt, Milliseconds at_least, Milliseconds left, TaskGroup& group,
                   bool& paused) {
    group.spawn(note(transport, attempt, at_least, left, paused));
    while (group.size() > 0) {
      co_await boost::asio::post(loop_.executor(), boost::asio::use_awaitable);
      if (group.size() > 0) clock_.advance(Milliseconds(1));
    }
    co_await group.join();
  }

  static Async<void> note(Transport& transport, unsigned attempt, Milliseconds at_least, Milliseconds left,
                          bool& paused) {
    paused = co_await transport.pause(attempt, transport.patience(left), at_least);
  }

  Loop loop_;
  ManualClock clock_;
};

TEST_F(PauseTest, GrowsWithEachAttemptUpToItsLimit) {
  for (const auto& [attempt, longest] : {std::pair{1U, 100}, {2U, 200}, {5U, 1'600}}) {
    const auto [paused, took] = pause(attempt, Milliseconds(0));
    EXPECT_TRUE(paused);
    EXPECT_GE(took, Milliseconds(longest / 2));
    EXPECT_LE(took, Milliseconds(longest + 2));
  }
}

TEST_F(PauseTest, IsAtLeastWhatTheServerSays) {
  const auto [paused, took] = pause(1, Seconds(3));
  EXPECT_TRUE(paused);
  EXPECT_GE(took, Seconds(3));
}

TEST_F(PauseTest, IsNotMadeWhereItWouldBeTooLongOrTooOften) {
  EXPECT_FALSE(pause(6, Milliseconds(0)).first);
  EXPECT_FALSE(pause(1, Seconds(61)).first);
  EXPECT_FALSE(pause(1, Seconds(3), Seconds(2)).first);
}

TEST(Session, EndsWithItsScopeUnlessItIsReleasedOrAttached) {
  FakeServer server({session, {.status = 204}, session, session, {.status = 204}});
  Client client(server.url());
  {
    const Session one = client.session({.app = "a"});
  }
  {
    Session two = client.session({.app = "a"});
    EXPECT_EQ(two.release(), "sess_1");
    EXPECT_EQ(client.attach("sess_1").info().at("status"), Json("active"));
  }
  EXPECT_THAT(server.requests(), ElementsAre(StartsWith("POST /sessions "), StartsWith("DELETE /sessions/sess_1 "),
                                             StartsWith("POST /sessions "), StartsWith("GET /sessions/sess_1 ")));
}

TEST(Session, EndsOnceWhenItIsMoved) {
  FakeServer server({session, {.status = 204}, {.status = 204}});
  Client client(server.url());
  {
    Session one = client.session({.app = "a"});
    const Session two = std::move(one);
  }
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST(Session, LeavesItsScopeQuietlyWhereItCannotBeEnded) {
  FakeServer server({session, refusal(500, R"({"code":"internal_error","message":"no"})")});
  Client client(server.url());
  EXPECT_THROW(
      {
        const Session one = client.session({.app = "a"});
        throw std::logic_error("first");
      },
      std::logic_error);
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST(Session, MayBeEndedTwiceButMustHaveBeenThere) {
  FakeServer server({refusal(410, R"({"code":"SESSION_ENDED","message":"ended"})"),
                     refusal(404, R"({"code":"SESSION_NOT_FOUND","message":"none"})")});
  Client client(server.url());
  EXPECT_NO_THROW(client.attach("s").end());
  EXPECT_EQ(error_of([&] { client.attach("s").end(); }).code(), ErrorCode::session_not_found);
}

TEST(TaskStream, TellsOutputsDeltasAndOtherEventsInOrder) {
  FakeServer server(
      {lines({line(2), R"({"data":{"status":7,"status_text":"running"},"fields":["status"]})",
              R"({"data":{"output":[1]},"fields":["status","output"]})", R"({"type":"heartbeat"})", delta(1),
              R"({"event":"log","data":{"text":"hello"}})", line(10, R"(,"output":[1,2])")})});
  Client client(server.url());
  TaskStream stream = client.stream("task_1");
  std::vector<std::string> told;
  while (const auto update = stream.next()) {
    told.push_back(update->event + to_text(update->data) + to_text(stream.task().output()) +
                   (update->output_changed ? "!" : ""));
  }
  EXPECT_THAT(told, ElementsAre("nullnull", "nullnull", "null[1]!", "delta\"d1\"[1]", "log{\"text\":\"hello\"}[1]",
                                "null[1,2]!"));
  EXPECT_TRUE(stream.task().is_completed());
  EXPECT_FALSE(stream.next());
}

TEST(TaskStream, GoesOnWhereItBrokeOffAndTellsNothingTwice) {
  FakeServer server({broken({line(7), delta(1), delta(2)}), lines({line(7), delta(2), delta(3)}),
                     lines({line(10, R"(,"output":1)")})});
  Client client(server.url());
  TaskStream stream = client.stream("task_1");
  std::vector<std::uint64_t> deltas;
  int changes = 0;
  while (const auto update = stream.next()) update->event.empty() ? void(++changes) : deltas.push_back(update->seq);
  EXPECT_THAT(deltas, ElementsAre(1, 2, 3));
  EXPECT_EQ(changes, 2);
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST(TaskStream, ThrowsWhyTheCallFailedAfterItsLastUpdate) {
  FakeServer server({lines({line(11, R"(,"error_info":{"code":"call_timeout","message":"late"})")})});
  Client client(server.url());
  TaskStream stream = client.stream("task_1");
  EXPECT_TRUE(stream.next());
  EXPECT_EQ(error_of([&] { stream.next(); }).code(), ErrorCode::call_timeout);
}

TEST(TaskStream, NamesTheCallThatCannotBeFollowedAnyLonger) {
  FakeServer server({broken({line(7)})});
  Client client(never_again(server));
  TaskStream stream = client.stream("task_1");
  EXPECT_TRUE(stream.next());
  const Error error = error_of([&] { stream.next(); });
  EXPECT_EQ(error.code(), ErrorCode::connection_failed);
  EXPECT_EQ(error.details().at("task_id"), Json("task_1"));
}

TEST(TaskStream, RefusesWhatIsNoLineOfAServer) {
  FakeServer server({lines({"<html>"})});
  Client client(server.url());
  EXPECT_THAT(error_of([&] { client.stream("task_1").next(); }).message(), HasSubstr("no line of a Sojourn server"));
}

TEST(TaskStream, ReplacesAConnectionThatIsSilent) {
  Reply silent = broken({line(7)});
  silent.stays_open = true;
  FakeServer server({silent, lines({line(10)})});
  Options options;
  options.url = server.url();
  options.read_timeout = Milliseconds(50);
  Client client(options);
  EXPECT_TRUE(client.stream("task_1").result().is_completed());
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST(TaskStream, EndsAtTheTimeThatItWasGiven) {
  Reply silent = broken({line(7)});
  silent.stays_open = true;
  FakeServer server({silent});
  Client client(server.url());
  EXPECT_EQ(error_of([&] { client.wait("task_1", Milliseconds(50)); }).code(), ErrorCode::call_timeout);
}

TEST(Client, FindsSessionsOnAllPagesUpToTheLimit) {
  const Reply first{.body = R"([{"id":"s1"},{"id":"s2"}])",
                    .headers = "Link: </sessions?cursor=x>; rel=\"next\"\r\n"};
  FakeServer server({first, {.body = R"([{"id":"s3"}])"}, first});
  Client client(server.url());
  const FoundSessions all = client.sessions({.app = "a"});
  EXPECT_EQ(all.sessions.size(), 3U);
  EXPECT_FALSE(all.has_more);
  const FoundSessions one = client.sessions({.limit = 1});
  EXPECT_EQ(one.sessions.size(), 1U);
  EXPECT_TRUE(one.has_more);
}

TEST(Client, TakesAnUploadWhoseAnswerWasLostForDone) {
  FakeServer server({{.body = R"([{"id":"f","uri":"/files/f","upload_url":"http://elsewhere:1/files/f?token=t"}])"},
                     lost,
                     refusal(409, R"({"code":"already_exists","message":"it is there"})"),
                     {.body = "bytes"}});
  Client client(server.url());
  EXPECT_EQ(client.upload({.name = "a.txt", .bytes = "bytes", .content_type = "text/plain"}), "/files/f");
  EXPECT_EQ(client.download("/files/f"), "bytes");
  const auto requests = server.requests();
  EXPECT_EQ(body_of_request(requests.at(0)),
            parse_json(R"({"files":[{"content_type":"text/plain","size":5,"filename":"a.txt"}]})"));
  EXPECT_THAT(requests.at(2), AllOf(StartsWith("PUT /files/f?token=t "), HasSubstr("Content-Type: text/plain\r\n")));
}

TEST(Client, SaysWhichFileOfThisMachineCannotBeReadOrWritten) {
  FakeServer server({{.body = "bytes"}});
  Client client(server.url());
  EXPECT_THAT(error_of([&] { client.upload_file("/no/such/file"); }).message(), HasSubstr("/no/such/file"));
  EXPECT_THAT(error_of([&] { client.upload_file(testing::TempDir()); }).message(), HasSubstr(testing::TempDir()));
  EXPECT_THAT(error_of([&] { client.download_file("/files/f", "/no/such/file"); }).message(),
              HasSubstr("/no/such/file"));
}

// The awaited face.
Async<void> use_in_vain(AsyncClient& client, std::string& told) {
  try {
    co_await client.in_session({.app = "a"}, [](AsyncSession own) -> Async<void> {
      throw Error(ErrorCode::app_error, "first, in " + own.id());
      co_return;
    });
  } catch (const Error& error) {
    told = error.message();
  }
}

TEST(AsyncClient, EndsASessionWhateverHappensInIt) {
  FakeServer server({session, refusal(500, R"({"code":"internal_error","message":"second"})")});
  Loop loop;
  SystemClock clock;
  Options options;
  options.url = server.url();
  AsyncClient client(loop.executor(), clock, options);
  std::string told;
  loop.run(use_in_vain(client, told));
  EXPECT_EQ(told, "first, in sess_1");
  EXPECT_THAT(server.requests(), ElementsAre(StartsWith("POST /sessions "), StartsWith("DELETE /sessions/sess_1 ")));
}

}  // namespace
}  // namespace sojourn::client
