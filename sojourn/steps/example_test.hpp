#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/steps/algorithm.hpp"

// What the tests of this room stand on: an algorithm that does what it is told and notes what it was asked, and a
// recorder that keeps what it was told.
namespace sojourn::steps {

struct Script {
  std::vector<std::string> log;  // the calls, as they came: "on_step_start 1"
  std::string throws;            // the call that throws, once: "on_step_start" or "execute 2"
  std::string then_throws;       // and the one after it
  StepError error{StepCode::algorithm_failed, "no luck"};
  bool resumable = false;
  bool looks = false;  // execute opens its picture
  int made = 0;
};

class ScriptedAlgorithm final : public Algorithm {
 public:
  explicit ScriptedAlgorithm(Script& script) : script_(script) { ++script_.made; }

  void setup() override { note("setup"); }
  void teardown() override { note("teardown"); }
  void on_step_start(int step_index, session::Session& session, const JsonObject& context) override {
    session.set("started", context);
    note("on_step_start", step_index);
  }
  void on_step_finish(int step_index, session::Session&, const Result& result) override {
    note(result.ok ? "on_step_finish" : "on_step_finish failed", step_index);
  }
  void reset(session::Session&) override { note("reset"); }

  Info get_info() const override {
    if (script_.throws == "get_info") throw std::runtime_error("no camera");
    return {
        .name = "scripted",
        .version = "1.2.0",
        .supported_pids = {"A01", "A02"},
        .steps = {{.name = "calibrate"},
                  {.name = "judge",
                   .params = {{.key = "limit", .type = ParameterType::integer, .fallback = 3, .min = 0, .max = 9}}}},
        .resumable = script_.resumable};
  }

  Result pre_execute(const Shot& shot, session::Session& session) override {
    session.set("prepared", shot.step_index);
    note("pre_execute", shot.step_index);
    return Result::calibrated({{.x = 1, .y = 2, .width = 3, .height = 4}});
  }

  Result execute(const Shot& shot, session::Session& session) override {
    session.set("step " + std::to_string(shot.step_index), shot.user_params);
    note("execute", shot.step_index);
    if (script_.looks) session.set("bytes", shot.image().bytes().size());
    diagnostics.publish("limit", shot.user_params);
    logger.info("judged", {{"step_index", "the algorithm's own"}, {"n", 1}});
    return answer.ok && answer.data.empty() ? Result::good() : answer;
  }

  Result answer;

 private:
  void note(const std::string& call, int step_index = 0) {
    const std::string line = step_index == 0 ? call : call + " " + std::to_string(step_index);
    script_.log.push_back(line);
    if (script_.throws.empty() || (script_.throws != line && script_.throws != call)) return;
    script_.throws = std::exchange(script_.then_throws, {});
    throw StepError(script_.error);
  }

  Script& script_;
};

class KeepingRecorder final : public Recorder {
 public:
  void log(LogLevel, std::string_view message, JsonObject fields) override {
    fields["message"] = message;
    lines.push_back(std::move(fields));
  }
  void step_finished(JsonObject record) override { records.push_back(std::move(record)); }

  std::vector<JsonObject> lines;
  std::vector<JsonObject> records;
};

}  // namespace sojourn::steps
