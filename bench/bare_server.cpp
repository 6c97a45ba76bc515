#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "bench/bare_store.hpp"
#include "bench/bare_worker.hpp"
#include "bench/loopback_server.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/http/server.hpp"

// What Sojourn is measured against: the least that a server of the same libraries must do to answer `POST /apps/run`
// durably. It parses the JSON, counts (here, or in a warm Python process for each session), commits what a call
// leaves by group commit, and answers. It checks nothing, hashes nothing, keeps no order among a session's callers
// (each session has one), and forgets its sessions when it stops.
namespace sojourn::bench {
namespace {

struct BareSession {
  std::int64_t version = 0;
  std::map<std::string, std::int64_t> values;
  std::unique_ptr<BareWorker> worker;  // null: the calls are served here
};

class BareServer {
 public:
  BareServer(Executor executor, BareStore& store, std::string worker_script)
      : executor_(std::move(executor)), store_(store), worker_script_(std::move(worker_script)) {}

  Async<void> handle(http::Request request, http::Responder& responder) {
    const JsonObject call = parse_json_object(request.body);
    const std::string wanted(call.at("session").as_string());
    const std::string id = wanted == "new" ? open_session() : wanted;
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) throw Error(ErrorCode::session_not_found, "session not found: " + id);
    BareSession& session = *found->second;
    const JsonObject& input = call.at("input").as_object();

    const JsonObject output = co_await run(session, input);
    BareCommit commit;
    commit.session_id = id;
    commit.version = ++session.version;
    const Time now = clock_.now();
    commit.updated_at = now.time_since_epoch().count();
    commit.state_key = input.at("key").as_string();
    commit.state_value = std::to_string(output.at("current").as_int64());
    commit.task_id = new_task_id(now, random_);
    commit.input = to_text(input);
    commit.output = to_text(output);
    commit.event = to_text(JsonObject{{"seq", commit.version},
                                      {"time", format_time(now)},
                                      {"type", "call.completed"},
                                      {"data", {{"task_id", commit.task_id}}}});
    http::Response response;
    response.body =
        to_text(JsonObject{{"id", commit.task_id}, {"session_id", id}, {"status", 10}, {"output", output}});
    co_await store_.commit(std::move(commit));
    co_await responder.send(std::move(response));
  }

 private:
  std::string open_session() {
    const std::string id = fmt::format("sess_20260101_000000_{:06x}", sessions_.size());
    auto session = std::make_unique<BareSession>();
    if (!worker_script_.empty()) session->worker = std::make_unique<BareWorker>(executor_, worker_script_);
    sessions_.emplace(id, std::move(session));
    return id;
  }

  static Async<JsonObject> run(BareSession& session, const JsonObject& input) {
    if (session.worker) {
      const JsonObject answer =
          co_await session.worker->call(to_text(JsonObject{{"function", "increment"}, {"input", input}}));
      co_return answer.at("output").as_object();
    }
    const std::string key(input.at("key").as_string());
    std::int64_t& value = session.values[key];
    const std::int64_t previous = value;
    value += input.at("amount").as_int64();
    co_return JsonObject{{"key", key}, {"previous", previous}, {"current", value}};
  }

  Executor executor_;
  BareStore& store_;
  std::string worker_script_;  // "": calls are served in this process
  SystemClock clock_;
  SystemRandom random_;
  std::unordered_map<std::string, std::unique_ptr<BareSession>> sessions_;
};

Async<void> serve(Executor executor, std::string folder, std::string worker_script) {
  std::filesystem::create_directories(folder);
  BareStore store(folder + "/bare.db");
  BareServer bare(executor, store, std::move(worker_script));
  co_await serve_until_stopped(executor, [&bare](http::Request request, http::Responder& responder) {
    return bare.handle(std::move(request), responder);
  });
}

}  // namespace
}  // namespace sojourn::bench

int main(int argc, char** argv) {
  std::string folder;
  std::string worker_script;
  CLI::App app("The bare server that Sojourn is measured against.");
  app.add_option("--data", folder, "folder for its database")->required();
  app.add_option("--worker", worker_script, "serve each session by a Python process that runs this script");
  CLI11_PARSE(app, argc, argv);
  try {
    sojourn::Loop loop;
    loop.run(sojourn::bench::serve(loop.executor(), folder, worker_script));
  } catch (const std::exception& error) {
    fmt::print(stderr, "bare_server: {}\n", error.what());
    return 1;
  }
}
