#include <gmock/gmock.h>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/openai_stand_in_test.hpp"
#include "sojourn/http/tls_stand_in_test.hpp"

namespace sojourn::flow {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// The stand-in behind TLS, with a certificate for localhost that an authority of the test signed.
class FlowOpenAiTls : public FlowOpenAi {
 public:
  FlowOpenAiTls() { authority_.write(authorities); }

  void with_tls(std::vector<Turn> turns, Async<void> (*fact)(FlowOpenAiTls&)) {
    with(std::move(turns), [this, fact](FlowOpenAi&) { return serve(*this, fact); });
  }

  std::shared_ptr<OpenAiModel> model_of(const std::string& host, const std::string& file) {
    return model_at(
        {.endpoint = "https://" + host + ":" + std::to_string(proxy->port()) + "/v1", .authorities = file});
  }

  const TemporaryFolder folder;
  const std::string authorities = (folder.path() / "authorities.pem").string();
  std::optional<http::TlsProxy> proxy;

 private:
  static Async<void> serve(FlowOpenAiTls& test, Async<void> (*fact)(FlowOpenAiTls&)) {
    TaskGroup connections(test.loop.executor());
    test.proxy.emplace(test.loop, test.server_, test.port());
    connections.spawn(test.proxy->serve(connections));
    std::exception_ptr failure;
    try {
      co_await fact(test);
    } catch (...) {
      failure = std::current_exception();
    }
    test.proxy->close();
    co_await connections.join();
    if (failure) std::rethrow_exception(failure);
  }

  http::Certificate authority_{"the authority of the test"};
  http::Certificate server_{"model", "DNS:localhost", authority_};
};

TEST_F(FlowOpenAiTls, AsksWhomAConfiguredAuthorityVouchesForAndAsksAgain) {
  with_tls({{.status = 503, .body = "busy"}, {.body = whole("at last")}}, [](FlowOpenAiTls& test) -> Async<void> {
    const auto model = test.model_of("localhost", test.authorities);
    EXPECT_EQ((co_await ask(test, model)).message.content, "at last");
    EXPECT_EQ(test.proxy->accepted, 2);
  });
  EXPECT_EQ(requests.at(1).headers.find("Authorization"), "Bearer secret-key");
}

TEST_F(FlowOpenAiTls, HandsOnAnAnswerAsItComesAndTellsWhereItBrokeOff) {
  const std::string half = piece(R"({"content":"Hel"})");
  with_tls({{.pieces = {half, piece(R"({"content":"lo"})"), piece("{}", "\"stop\""), "data: [DONE]\n\n"}},
            {.pieces = {half}, .breaks_off = true}},
           [](FlowOpenAiTls& test) -> Async<void> {
             std::vector<std::string> pieces;
             const OnPiece keep = [&pieces](std::string_view text) { pieces.emplace_back(text); };
             const auto model = test.model_of("localhost", test.authorities);
             EXPECT_EQ((co_await ask(test, model, keep)).message.content, "Hello");
             EXPECT_EQ((co_await error_of(ask(test, model, keep))).first, ErrorCode::connection_failed);
             EXPECT_THAT(pieces, ElementsAre("Hel", "lo", "Hel"));
           });
  EXPECT_EQ(requests.size(), 2U);
}

TEST_F(FlowOpenAiTls, EndsAtItsDeadline) {
  with_tls({{.is_silent = true}}, [](FlowOpenAiTls& test) -> Async<void> {
    const auto model = test.model_of("localhost", test.authorities);
    EXPECT_THAT(co_await error_of(ask(test, model, nullptr, Milliseconds(200))),
                Pair(ErrorCode::call_timeout, HasSubstr("https://localhost:")));
  });
}

// What it says is asked again in no case: the endpoint's certificate stays as it is.
TEST_F(FlowOpenAiTls, RefusesACertificateForAnotherHostAndNamesBoth) {
  with_tls({}, [](FlowOpenAiTls& test) -> Async<void> {
    EXPECT_THAT(
        co_await error_of(ask(test, test.model_of("127.0.0.1", test.authorities))),
        Pair(ErrorCode::connection_failed,
             AllOf(HasSubstr("https://127.0.0.1:"), HasSubstr("it is not for 127.0.0.1, but for DNS:localhost"))));
    EXPECT_EQ(test.proxy->connections, 1);
  });
  EXPECT_TRUE(requests.empty());
}

TEST_F(FlowOpenAiTls, RefusesACertificateOfAnAuthorityThatItDoesNotKnowAndNamesIt) {
  with_tls({}, [](FlowOpenAiTls& test) -> Async<void> {
    const std::string others = (test.folder.path() / "others.pem").string();
    http::Certificate("somebody else").write(others);
    for (const std::string& file : {others, std::string()}) {  // the last: whom this machine trusts
      EXPECT_THAT(co_await error_of(ask(test, test.model_of("localhost", file))),
                  Pair(ErrorCode::connection_failed,
                       AllOf(HasSubstr("https://localhost:"), HasSubstr("issuer /CN=the authority of the test"))));
    }
    EXPECT_EQ(test.proxy->connections, 2);
  });
  EXPECT_TRUE(requests.empty());
}

TEST_F(FlowOpenAiTls, NamesAFileOfAuthoritiesThatItCannotRead) {
  EXPECT_THROW(model_at({.endpoint = "https://localhost/v1", .authorities = folder.path() / "none.pem"}), Error);
}

}  // namespace
}  // namespace sojourn::flow
