#include "sojourn/cli/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "sojourn/base/json.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/client/fake_server.hpp"
#include "sojourn/server/api_keys.hpp"

namespace sojourn::cli {
namespace {

using client::FakeServer;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() { surroundings_.folder = folder_.path(); }

  // Runs `sojourn ARGUMENTS` and returns its exit code.
  int sojourn(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    Console console{.in = in_, .out = out_, .err = err_};
    return run_command_line(std::move(arguments), surroundings_, console);
  }

  std::string out() const { return out_.str(); }
  std::string err() const { return err_.str(); }
  std::string file(std::string_view name) const { return (surroundings_.folder / name).string(); }

  void serve(FakeServer& server) { surroundings_.environment["SOJOURN_URL"] = server.url(); }

  TemporaryFolder folder_;
  Surroundings surroundings_;
  std::istringstream in_;
  std::ostringstream out_, err_;
};

TEST_F(CommandLineTest, HelpOfEachCommandHasAnExampleAndHidesTheSupervisor) {
  EXPECT_EQ(sojourn({"--help"}), 0);
  EXPECT_THAT(out(), AllOf(HasSubstr("serve"), HasSubstr("Exit codes"), Not(HasSubstr("supervise"))));
  for (const std::vector<std::string>& command : {std::vector<std::string>{"serve"},
                                                  {"run"},
                                                  {"sessions"},
                                                  {"sessions", "list"},
                                                  {"sessions", "create"},
                                                  {"sessions", "show"},
                                                  {"sessions", "end"},
                                                  {"sessions", "keepalive"},
                                                  {"sessions", "stage"},
                                                  {"sessions", "step"},
                                                  {"sessions", "steps"},
                                                  {"apps"},
                                                  {"audit"},
                                                  {"audit", "verify"},
                                                  {"config"},
                                                  {"keys"},
                                                  {"keys", "create"}}) {
    std::vector<std::string> words = command;
    words.push_back("--help");
    EXPECT_EQ(sojourn(words), 0);
    EXPECT_THAT(out(), AllOf(HasSubstr("Example"), HasSubstr("sojourn " + command[0]), HasSubstr("Usage: sojourn")));
    EXPECT_EQ(err(), "");
  }
}

TEST_F(CommandLineTest, NamesACommandThatIsNotThere) {
  EXPECT_EQ(sojourn({"serv"}), 2);
  EXPECT_THAT(err(), AllOf(HasSubstr("there is no command 'serv'"), HasSubstr("sojourn --help")));
  EXPECT_EQ(sojourn({"audit", "check", "--all"}), 2);
  EXPECT_THAT(err(), AllOf(HasSubstr("there is no command 'check'"), HasSubstr("sojourn audit --help")));
  EXPECT_EQ(sojourn({"--loud"}), 2);
  EXPECT_THAT(err(), HasSubstr("there is no option '--loud'"));
}

TEST_F(CommandLineTest, SaysItsVersion) {
  EXPECT_EQ(sojourn({"--version"}), 0);
  EXPECT_THAT(out(), MatchesRegex("sojourn [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(CommandLineTest, BadUsageExitsWith2AndPointsToTheHelp) {
  const auto expect_usage = [&](std::vector<std::string> words, std::string_view help) {
    EXPECT_EQ(sojourn(std::move(words)), 2);
    EXPECT_EQ(out(), "");
    EXPECT_THAT(err(), AllOf(StartsWith("sojourn: "), HasSubstr("See " + std::string(help) + " --help.")));
  };
  expect_usage({}, "sojourn");
  expect_usage({"walk"}, "sojourn");
  expect_usage({"run"}, "sojourn run");
  expect_usage({"run", "counter", "--sesion", "new"}, "sojourn run");
  expect_usage({"run", "counter", "--session-timeout", "0"}, "sojourn run");
  expect_usage({"run", "counter", "--session-timeout", "3601"}, "sojourn run");
  expect_usage({"run", "counter", "--session-timeout", "abc"}, "sojourn run");
  expect_usage({"run", "counter", "--session-timeout", "1.5"}, "sojourn run");
  expect_usage({"sessions", "show"}, "sojourn sessions show");
  expect_usage({"sessions", "list", "--status", "lost"}, "sojourn sessions list");
  expect_usage({"sessions", "list", "--limit", "0"}, "sojourn sessions list");
  expect_usage({"sessions", "step", "s1", "search", "pause"}, "sojourn sessions step");
  expect_usage({"audit"}, "sojourn audit");
  expect_usage({"audit", "verify", "x", "--all"}, "sojourn audit verify");
  expect_usage({"keys", "create", "ci"}, "sojourn keys create");
}

TEST_F(CommandLineTest, BadSettingsExitWith2) {
  surroundings_.environment["SOJOURN_TIMEOUT"] = "soon";
  EXPECT_EQ(sojourn({"apps"}), 2);
  EXPECT_THAT(err(),
              AllOf(StartsWith("sojourn: SOJOURN_TIMEOUT: bad timeout 'soon'"), HasSubstr("Correct the setting")));
}

TEST_F(CommandLineTest, ConfigShowsEachValueAndItsSource) {
  std::ofstream(file("sojourn.toml")) << "log_level = \"debug\"\n";
  surroundings_.environment["SOJOURN_API_KEY"] = "sjn_secret";
  EXPECT_EQ(sojourn({"config", "--listen", "127.0.0.1:0"}), 0);
  EXPECT_THAT(out(), AllOf(StartsWith("SETTING                VALUE"),
                           HasSubstr("listen                 127.0.0.1:0"), HasSubstr("--listen\n"),
                           HasSubstr("sojourn.toml:1\n"), HasSubstr("********"), Not(HasSubstr("sjn_secret"))));

  EXPECT_EQ(sojourn({"config", "--json"}), 0);
  const JsonObject json = parse_json_object(out());
  EXPECT_EQ(json.at("listen").as_object().at("value"), "127.0.0.1:8080");
  EXPECT_EQ(json.at("listen").as_object().at("source"), "default");
  EXPECT_EQ(json.at("api_key").as_object().at("value"), "********");
}

TEST_F(CommandLineTest, CreatedKeysAreShownOnceAndKnownByTheFile) {
  EXPECT_EQ(
      sojourn({"keys", "create", "ci", "--scope", "apps:read", "--scope", "admin", "--file", file("keys.toml")}), 0);
  const std::string key = out().substr(0, out().size() - 1);
  const auto caller = server::ApiKeys::read(file("keys.toml")).find("Bearer " + key);
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->name, "ci");
  EXPECT_THAT(caller->scopes.names(), ElementsAre("apps:read", "admin"));

  surroundings_.environment["SOJOURN_KEYS"] = file("keys.toml");
  EXPECT_EQ(sojourn({"keys", "create", "web", "--scope", "apps:execute", "--json"}), 0);
  EXPECT_THAT(parse_json_object(out()).at("key").as_string().c_str(), StartsWith("sjn_"));
}

TEST_F(CommandLineTest, KeysThatCannotBeMadeAreRefused) {
  EXPECT_EQ(sojourn({"keys", "create", "ci", "--scope", "admin"}), 2);
  EXPECT_THAT(err(), HasSubstr("--file FILE"));
  EXPECT_EQ(sojourn({"keys", "create", "ci", "--scope", "root", "--file", file("keys.toml")}), 2);
  EXPECT_THAT(err(), HasSubstr("no scope 'root'"));
  EXPECT_EQ(sojourn({"keys", "create", "server", "--scope", "admin", "--file", file("keys.toml")}), 2);
  EXPECT_EQ(sojourn({"keys", "create", "ci", "--scope", "admin", "--file", file("no/keys.toml")}), 1);
  EXPECT_FALSE(std::filesystem::exists(file("keys.toml")));
}

TEST_F(CommandLineTest, AServerThatIsNotThereExitsWith3AndNamesTheAddress) {
  FakeServer closed({});
  closed.stop();
  serve(closed);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"apps"}, {"sessions"}, {"sessions", "show", "x"}, {"run", "counter"}}) {
    EXPECT_EQ(sojourn(words), 3) << words[0];
    EXPECT_THAT(err(), AllOf(StartsWith("sojourn: cannot reach the server: " + closed.url()),
                             HasSubstr("(url: SOJOURN_URL)"), HasSubstr("Check that the address is right")));
    EXPECT_EQ(out(), "");
  }
}

TEST_F(CommandLineTest, RunSendsWhatItWasToldAndPrintsTheOutputAlone) {
  FakeServer server({{.body = R"({"id":"task_1","status":10,"session_id":"sess_1","output":{"current":1}})"}});
  serve(server);
  surroundings_.environment["SOJOURN_API_KEY"] = "sjn_k";
  EXPECT_EQ(sojourn({"run", "counter", "--session", "new", "--function", "increment", "--input", R"({"key":"a"})",
                     "--session-timeout", "30"}),
            0);
  EXPECT_EQ(out(), "{\"current\":1}\n");
  EXPECT_EQ(err(), "session sess_1  task task_1\n");
  const std::string request = server.requests().at(0);
  EXPECT_THAT(request, AllOf(StartsWith("POST /apps/run HTTP/1.1\r\n"), HasSubstr("X-API-Version: 2\r\n"),
                             HasSubstr("Authorization: Bearer sjn_k\r\n"), HasSubstr("Host: 127.0.0.1")));
  EXPECT_EQ(parse_json(request.substr(request.find("\r\n\r\n") + 4)),
            parse_json(R"({"app":"counter","function":"increment","input":{"key":"a"},"session":"new",)"
                       R"("session_timeout":30,"wait":true})"));
}

TEST_F(CommandLineTest, RunTakesItsInputFromAFileOrStandardInputOrAsItStands) {
  std::ofstream(file("input.json")) << "[1, 2]\n";
  in_.str("{\"from\": \"standard input\"}");
  const std::vector<std::pair<std::string, std::string>> cases{{"@" + file("input.json"), "[1,2]"},
                                                               {"@-", "{\"from\":\"standard input\"}"},
                                                               {"[1,2]", "[1,2]"},
                                                               {"[]", "[]"},
                                                               {"-1", "-1"},
                                                               {"\"text\"", "\"text\""},
                                                               {"null", "null"}};
  for (const auto& [given, sent] : cases) {
    FakeServer server({{.body = R"({"status":10})"}});
    serve(server);
    EXPECT_EQ(sojourn({"run", "counter", "--input", given}), 0) << given << err();
    EXPECT_EQ(out(), "null\n");
    EXPECT_THAT(server.requests(), ElementsAre(HasSubstr("\"input\":" + sent + ","))) << given;
  }
}

TEST_F(CommandLineTest, RunRefusesInputThatIsNoJsonOrNotThere) {
  EXPECT_EQ(sojourn({"run", "counter", "--input", "{key: 1}"}), 2);
  EXPECT_THAT(err(), StartsWith("sojourn: --input is no JSON"));
  EXPECT_EQ(sojourn({"run", "counter", "--input", "@" + file("nowhere.json")}), 2);
  EXPECT_THAT(err(), HasSubstr("nowhere.json"));
  EXPECT_EQ(sojourn({"run", "counter", "--input", "@" + surroundings_.folder.string()}), 2);
}

TEST_F(CommandLineTest, RunShowsWhatAProgramSaidThatDidNotStart) {
  FakeServer server({{.body = R"({"status":11,"error":"it exited","error_info":{"code":"worker_start_failed",)"
                              R"("message":"it exited","details":{"stderr":"no module named\nteeth"}}})"}});
  serve(server);
  EXPECT_EQ(sojourn({"run", "counter"}), 1);
  EXPECT_THAT(err(), HasSubstr("no module named\nteeth\nsojourn: it exited\n"));
}

TEST_F(CommandLineTest, RunExitsWith1WhereTheCallFailed) {
  FakeServer server({{.body = R"({"id":"task_1","status":11,"error":"ValueError: no"})"},
                     {.body = R"({"status":11,"error":"the worker exited","error_info":{"code":"WORKER_LOST",)"
                              R"("message":"the worker exited","details":{"traceback":"line 1\nline 2\n"}}})"},
                     {.body = R"({"status":12})"},
                     {.body = R"({"status":11})"}});
  serve(server);
  EXPECT_EQ(sojourn({"run", "counter"}), 1);
  EXPECT_THAT(err(), HasSubstr("sojourn: ValueError: no\n"));
  EXPECT_EQ(out(), "");
  EXPECT_EQ(sojourn({"run", "counter"}), 1);
  EXPECT_THAT(err(),
              AllOf(HasSubstr("line 1\nline 2\nsojourn: the worker exited\n"), HasSubstr("gone with its worker")));
  EXPECT_EQ(sojourn({"run", "counter"}), 1);
  EXPECT_THAT(err(), HasSubstr("cancelled"));
  EXPECT_EQ(sojourn({"run", "counter", "--json"}), 1);
  EXPECT_EQ(out(), "{\"status\":11}\n");
}

TEST_F(CommandLineTest, RunWithoutWaitingTellsTheStateOfTheTask) {
  FakeServer server({{.body = R"({"id":"task_1","status":2,"status_text":"queued"})"}});
  serve(server);
  EXPECT_EQ(sojourn({"run", "counter", "--no-wait"}), 0);
  EXPECT_EQ(out(), "queued\n");
  EXPECT_THAT(server.requests(), ElementsAre(HasSubstr("\"wait\":false")));
}

TEST_F(CommandLineTest, RunAtALaterTimeDoesNotWaitForTheCall) {
  FakeServer server({{.body = R"({"id":"task_1","status":1,"status_text":"received"})"}});
  serve(server);
  EXPECT_EQ(sojourn({"run", "counter", "--run-at", "2026-01-15T09:30:00Z", "--webhook", "https://a.example/told"}),
            0);
  EXPECT_EQ(out(), "received\n");
  EXPECT_THAT(server.requests(),
              ElementsAre(AllOf(HasSubstr("\"wait\":false"), HasSubstr("\"run_at\":\"2026-01-15T09:30:00Z\""),
                                HasSubstr("\"webhook\":\"https://a.example/told\""))));
}

TEST_F(CommandLineTest, ErrorsOfTheServerAreToldAsTheyCame) {
  FakeServer server({{.status = 410,
                      .body = R"({"detail":"x","error":{"code":"SESSION_ENDED","message":"session ended: sess_1"}})"},
                     {.status = 502, .body = "<html>"},
                     {.status = 200, .body = "not json"},
                     {.status = 404, .body = R"({"detail":"nobody here"})"},
                     {.status = 404, .body = R"({"error":{"code":"session_lost","message":"odd"}})"}});
  serve(server);
  EXPECT_EQ(sojourn({"sessions", "show", "sess_1"}), 1);
  EXPECT_THAT(err(), AllOf(HasSubstr("session ended: sess_1"), HasSubstr("Start a new session")));
  EXPECT_EQ(sojourn({"sessions", "show", "sess_1"}), 3);
  EXPECT_THAT(err(), HasSubstr("status 502"));
  EXPECT_EQ(sojourn({"sessions", "show", "sess_1"}), 3);
  EXPECT_EQ(sojourn({"sessions", "show", "sess_1"}), 3);
  EXPECT_THAT(err(), HasSubstr("nobody here"));
  EXPECT_EQ(sojourn({"sessions", "show", "sess_1"}), 1);
}

TEST_F(CommandLineTest, SessionsFollowsThePagesUpToTheLimit) {
  const FakeServer::Reply first{.body = R"([{"id":"s1","app_id":"counter","status":"active","call_count":2},{}])",
                                .headers = "Link: </sessions?cursor=a%20b>; rel=\"next\"\r\n"};
  FakeServer server({first, {.body = R"([{"id":"s3","created_at":"2026-11-21T09:30:00.123456Z"}])"}, first});
  serve(server);
  EXPECT_EQ(sojourn({"sessions"}), 0);
  EXPECT_EQ(out(),
            "SESSION  APP      STATUS  CALLS  CREATED               LAST CALL\n"
            "s1       counter  active  2\n"
            "\n"
            "s3                               2026-11-21T09:30:00Z\n");
  EXPECT_EQ(sojourn({"sessions", "list", "--limit", "1", "--status", "ended", "--app", "a/b", "--json"}), 0);
  EXPECT_EQ(parse_json(out()).as_array().size(), 1u);
  EXPECT_THAT(server.requests(),
              ElementsAre(StartsWith("GET /sessions?limit=100 HTTP"), StartsWith("GET /sessions?cursor=a%20b HTTP"),
                          StartsWith("GET /sessions?limit=1&status=ended&app=a%2Fb HTTP")));
}

TEST_F(CommandLineTest, SessionsAreShownEndedAndKept) {
  FakeServer server({{.body = R"({"id":"s1","status":"active","ended_at":null,"context":{"a":1}})"},
                     {.status = 204},
                     {.body = R"({"id":"s1","status":"active","expires_at":"2026-11-21T09:30:00.000000Z"})"},
                     {.body = R"({"id":"s1","status":"active"})"}});
  serve(server);
  EXPECT_EQ(sojourn({"sessions", "show", "s1"}), 0);
  EXPECT_EQ(out(), "id       s1\nstatus   active\ncontext  {\"a\":1}\n");
  EXPECT_EQ(sojourn({"sessions", "end", "../s1"}), 0);
  EXPECT_EQ(out(), "ended ../s1\n");
  EXPECT_EQ(sojourn({"sessions", "keepalive", "s1"}), 0);
  EXPECT_EQ(out(), "kept s1 until 2026-11-21T09:30:00.000000Z\n");
  EXPECT_EQ(sojourn({"sessions", "keepalive", "s1"}), 0);
  EXPECT_EQ(out(), "kept s1\n");
  EXPECT_THAT(server.requests(),
              ElementsAre(StartsWith("GET /sessions/s1 "), StartsWith("DELETE /sessions/%2E%2E%2Fs1 "),
                          StartsWith("POST /sessions/s1/keepalive "), testing::_));
  EXPECT_EQ(sojourn({"sessions", "end", ""}), 2);
}

TEST_F(CommandLineTest, SessionsAreCreatedAndWarmedUp) {
  const FakeServer::Reply made{.status = 201, .body = R"({"id":"s1","status":"active"})"};
  FakeServer server({made, made, made});
  serve(server);
  EXPECT_EQ(sojourn({"sessions", "create"}), 0);
  EXPECT_EQ(out(), "s1\n");
  EXPECT_EQ(sojourn({"sessions", "create", "a", "--warm", "--setup", "[1]", "--session-timeout", "9", "--json"}), 0);
  EXPECT_EQ(parse_json(out()).at("id"), "s1");
  EXPECT_THAT(server.requests(),
              ElementsAre(EndsWith("\r\n\r\n{}"),
                          EndsWith(R"({"app":"a","setup":[1],"session_timeout":9,"warm":true,"wait":true})")));
  EXPECT_EQ(sojourn({"sessions", "create", "a", "--setup", "{"}), 2);
  EXPECT_THAT(err(), HasSubstr("--setup is no JSON"));
  EXPECT_EQ(sojourn({"sessions", "create", "a"}), 0);
}

TEST_F(CommandLineTest, AppsListsWhatTheServerHas) {
  FakeServer server({{.body = R"([{"name":"a/counter","version":"1.0","functions":["increment","run"]},)"
                              R"({"name":"x","functions":[{"name":"run"}],"description":"odd\u001b[2J"},7])"},
                     {.body = "[]"}});
  serve(server);
  EXPECT_EQ(sojourn({"apps"}), 0);
  EXPECT_EQ(out(),
            "APP        VERSION  FUNCTIONS       DESCRIPTION\n"
            "a/counter  1.0      increment, run\n"
            "x                   run             odd?[2J\n"
            "\n");
  EXPECT_EQ(sojourn({"apps"}), 0);
  EXPECT_THAT(err(), HasSubstr("no apps"));
}

TEST_F(CommandLineTest, ServingTheNetworkTakesKeys) {
  EXPECT_EQ(sojourn({"serve", "--listen", "0.0.0.0:0", "--data", file("data"), "--apps", file("apps")}), 2);
  EXPECT_THAT(err(), AllOf(StartsWith("sojourn: "), HasSubstr("0.0.0.0"), HasSubstr("keys")));
  EXPECT_FALSE(std::filesystem::exists(file("data")));
}

TEST_F(CommandLineTest, SessionsAreFoundByAllThatTheServerCanFilterBy) {
  FakeServer server({{.body = "[]"}});
  serve(server);
  EXPECT_EQ(sojourn({"sessions", "--user", "ann", "--stage", "created", "--label", "line=1", "--label", "a=b=c",
                     "--id", "7f", "--from", "2026-01-15T00:00:00Z", "--before", "2026-01-16T00:00:00+01:00"}),
            0);
  EXPECT_THAT(
      server.requests(),
      ElementsAre(StartsWith("GET /sessions?limit=100&user_id=ann&stage=created&id=7f&"
                             "created_from=2026-01-15T00%3A00%3A00Z&created_before=2026-01-16T00%3A00%3A00%2B01%3A00"
                             "&label.a=b%3Dc&label.line=1 HTTP")));
  EXPECT_EQ(sojourn({"sessions", "--label", "line"}), 2);
}

TEST_F(CommandLineTest, StageShowsWhereASessionStandsOrMovesIt) {
  const FakeServer::Reply stage{.body = R"({"stage":"draft","lifecycle":"review","allowed":["done"],"final":false})"};
  FakeServer server({stage, stage});
  serve(server);
  EXPECT_EQ(sojourn({"sessions", "stage", "sess_1"}), 0);
  EXPECT_EQ(out(), "draft\n");
  EXPECT_EQ(err(), "next: done\n");
  EXPECT_EQ(sojourn({"sessions", "stage", "sess_1", "draft", "--reason", "once more"}), 0);
  EXPECT_THAT(server.requests(), ElementsAre(StartsWith("GET /sessions/sess_1/stage HTTP"),
                                             AllOf(StartsWith("PUT /sessions/sess_1/stage HTTP"),
                                                   HasSubstr(R"({"stage":"draft","reason":"once more"})"))));
}

TEST_F(CommandLineTest, StepTellsTheServerAndSaysWhatBecameOfIt) {
  FakeServer server({{.body = R"({"step":"search","attempt":2,"status":"failed","duration_ms":12})"},
                     {.body = R"({"attempts":[{"step":"search","attempt":2,"status":"failed","duration_ms":12}]})"}});
  serve(server);
  EXPECT_EQ(sojourn({"sessions", "step", "sess_1", "search", "report", "--duration-ms", "12", "--error", "no"}), 0);
  EXPECT_EQ(out(), "search attempt 2 failed after 12 ms\n");
  EXPECT_EQ(sojourn({"sessions", "steps", "sess_1"}), 0);
  EXPECT_THAT(out(), AllOf(HasSubstr("STEP"), HasSubstr("search")));
  EXPECT_THAT(server.requests(), ElementsAre(AllOf(StartsWith("POST /sessions/sess_1/steps/search/report HTTP"),
                                                   HasSubstr(R"({"duration_ms":12,"error":"no","failed":true})")),
                                             StartsWith("GET /sessions/sess_1/steps?limit=1000 HTTP")));
}

}  // namespace
}  // namespace sojourn::cli
