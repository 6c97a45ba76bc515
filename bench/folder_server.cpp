#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bench/loopback_server.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/http/server.hpp"

// What Sojourn's sessions are measured against: seed 001's way of keeping them, with the HTTP server, the JSON and
// the language of Sojourn. A session is a folder under its day with a session_metadata.json in it. To find one is to
// look into the folder of each day; to list them is to read all; to add a step is to read the file and write it anew,
// once for the step and once for its time. Nothing is synced, nothing is written whole, and nobody else may write.
namespace sojourn::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* file_name = "session_metadata.json";

JsonObject read_metadata(const fs::path& folder) {
  std::ifstream in(folder / file_name);
  return parse_json_object(std::string(std::istreambuf_iterator<char>(in), {}));
}

void write_metadata(const fs::path& folder, const JsonObject& metadata) {
  std::ofstream(folder / file_name) << to_text(metadata);
}

class FolderSessions {
 public:
  explicit FolderSessions(fs::path top) : top_(std::move(top)) { fs::create_directories(top_); }

  JsonObject create(Time now) {
    const std::string id = new_session_id(now, random_);
    const std::string time = format_time(now);
    const fs::path folder = top_ / time.substr(0, 10) / id;
    fs::create_directories(folder);
    JsonObject metadata{{"session_id", id},
                        {"created_at", time},
                        {"status", "created"},
                        {"user_id", nullptr},
                        {"steps_completed", JsonArray()},
                        {"timing", JsonObject()}};
    write_metadata(folder, metadata);
    return answer(std::move(metadata), folder);
  }

  JsonObject get(const std::string& id) const {
    const fs::path folder = find(id);
    return answer(read_metadata(folder), folder);
  }

  JsonObject audit(const std::string& id) const {
    JsonObject metadata = read_metadata(find(id));
    JsonObject told = metadata;
    told["data"] = std::move(metadata);
    return told;
  }

  JsonObject list(std::size_t limit) const {
    std::vector<JsonObject> all;
    for (const fs::directory_entry& day : fs::directory_iterator(top_)) {
      for (const fs::directory_entry& session : fs::directory_iterator(day)) all.push_back(read_metadata(session));
    }
    std::ranges::sort(all, [](const JsonObject& a, const JsonObject& b) {
      return a.at("created_at").as_string() > b.at("created_at").as_string();
    });
    JsonArray page;
    for (std::size_t i = 0; i < std::min(limit, all.size()); ++i) page.emplace_back(std::move(all[i]));
    return {{"sessions", std::move(page)}, {"total", all.size()}, {"limit", limit}, {"offset", 0}};
  }

  JsonObject add_step(const std::string& id, const std::string& step, std::int64_t milliseconds) {
    const fs::path folder = find(id);
    JsonObject timed = read_metadata(folder);
    timed["timing"].as_object()[step + "_ms"] = milliseconds;
    write_metadata(folder, timed);
    JsonObject completed = read_metadata(folder);
    JsonArray& steps = completed["steps_completed"].as_array();
    if (std::ranges::find(steps, Json(step)) == steps.end()) steps.emplace_back(step);
    write_metadata(folder, completed);
    return completed;
  }

 private:
  fs::path find(const std::string& id) const {
    for (const fs::directory_entry& day : fs::directory_iterator(top_)) {
      if (fs::exists(day.path() / id)) return day.path() / id;
    }
    throw Error(ErrorCode::session_not_found, "session not found: " + id);
  }

  static JsonObject answer(JsonObject metadata, const fs::path& folder) {
    metadata.erase("steps_completed");
    metadata.erase("timing");
    metadata["audit_path"] = folder.string();
    return metadata;
  }

  const fs::path top_;
  SystemRandom random_;
};

class FolderServer {
 public:
  explicit FolderServer(FolderSessions& sessions) : sessions_(sessions) {}

  Async<void> handle(http::Request request, http::Responder& responder) {
    co_await responder.send({.body = to_text(answer(request), {.bytes = 64 * limits::mebibyte})});
  }

 private:
  JsonObject answer(const http::Request& request) {
    const std::vector<std::string> path = http::parse_target(request.target).path;
    if (path.size() == 5) {
      return sessions_.add_step(path[1], path[3], parse_json_object(request.body).at("duration_ms").as_int64());
    }
    if (path.at(1) == "create") return sessions_.create(clock_.now());
    if (path[1] == "list") return sessions_.list(50);
    return path.size() == 3 ? sessions_.audit(path[1]) : sessions_.get(path[1]);
  }

  FolderSessions& sessions_;
  SystemClock clock_;
};

Async<void> serve(Executor executor, std::string folder, std::size_t stored) {
  SystemClock clock;
  FolderSessions sessions(fs::path(folder) / "sessions");
  for (std::size_t i = 0; i < stored; ++i) sessions.create(clock.now() - Seconds(86'400 * (1 + i % 30)));
  FolderServer folders(sessions);
  co_await serve_until_stopped(executor, [&folders](http::Request request, http::Responder& responder) {
    return folders.handle(std::move(request), responder);
  });
}

}  // namespace
}  // namespace sojourn::bench

int main(int argc, char** argv) {
  std::string folder;
  std::size_t stored = 0;
  CLI::App app("Sessions in folders, which Sojourn's are measured against.");
  app.add_option("--data", folder, "folder for the sessions")->required();
  app.add_option("--stored", stored, "sessions to begin with, over thirty days");
  CLI11_PARSE(app, argc, argv);
  try {
    sojourn::Loop loop;
    loop.run(sojourn::bench::serve(loop.executor(), folder, stored));
  } catch (const std::exception& error) {
    fmt::print(stderr, "folder_server: {}\n", error.what());
    return 1;
  }
}
