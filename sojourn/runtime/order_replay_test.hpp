#pragma once

#include "sojourn/runtime/order_model_test.hpp"

namespace sojourn::runtime::order {

// Tells a session's story again from its journal; everything in it must be what the model would have done.
class Replay {
 public:
  explicit Replay(Model& model) : model_(model) {}

  void check(Session& session, const std::vector<store::Event>& events,
             const std::map<std::string, store::TaskRecord>& tasks, const store::Snapshot& stored) {
    Values state;
    int ends = 0;
    std::uint64_t last_end = 0;
    std::uint64_t counted = 0;
    for (const store::Event& event : events) {
      const JsonObject body = parse_json_object(event.body);
      const std::string type(body.at("type").as_string());
      const JsonObject& data = body.at("data").as_object();
      if (type == "state.changed") replay_write(session, data, state);
      if (type == "resource.added") session.resources.insert(std::string(data.at("id").as_string()));
      if (type == "resource.released" || type == "resource.leaked") {
        session.resources.erase(std::string(data.at("id").as_string()));
      }
      if (type == "worker.closed") session.resources.clear();  // it releases what it holds
      if (type == "session.ended" || type == "session.expired" || type == "session.failed") ++ends;
      if (type == "half.done") model_.fail("an event of a failed call is in the journal");
      if (!type.starts_with("call.") || type == "call.accepted" || type == "call.scheduled") continue;
      const auto task = tasks.find(std::string(data.at("task").as_string()));
      if (task == tasks.end()) {
        if (type != "call.checkpoint") model_.fail(fmt::format("{} of a task that is not stored", type));
        if (type == "call.checkpoint") ++state["count"];
        continue;
      }
      replay_call(session, type, data, task->second, state);
      if (type == "call.checkpoint") continue;
      ++counted;
      if (task->second.seq == 0) continue;  // it ended before its time
      if (!session.is_murky && task->second.seq < last_end) {
        model_.fail(fmt::format("call {} ended after one that came later", task->second.seq));
      }
      last_end = task->second.seq;
    }
    Values kept;
    for (const auto& [key, text] : stored.state) kept[key] = parse_json(text).to_number<std::int64_t>();
    if (kept != state) model_.fail("the stored state is not what the calls and writes made");
    const bool over = stored.record.head.status != store::SessionStatus::active;
    if (ends != (over ? 1 : 0)) model_.fail(fmt::format("the journal has {} ends", ends));
    if (over && (!session.resources.empty() || !stored.resources.empty())) model_.fail("resources are left open");
    if (counted != stored.record.head.call_count) {
      model_.fail(fmt::format("call_count is {}, ended have {}", stored.record.head.call_count, counted));
    }
    for (const auto& [id, task] : tasks) {
      check_webhook(task);
      if (store::is_scheduled(task)) {
        if (over || task.run_at <= model_.clock->now()) model_.fail(fmt::format("{} waits for ever", task.input));
        if (model_.calls[Model::number_of(task)].begun > 0)
          model_.fail(fmt::format("{} waits and has run", task.input));
        continue;
      }
      if (!store::is_final(task.status)) model_.fail(fmt::format("task of {} is left open", task.input));
      if (model_.calls[Model::number_of(task)].ends_in_journal != 1)
        model_.fail(fmt::format("{} has not one end", task.input));
    }
  }

 private:
  // It is owed from the commit on that ends its call, and nobody told it here.
  void check_webhook(const store::TaskRecord& task) {
    if (!task.webhook) return;
    const auto right = store::is_final(task.status) ? store::Webhook::Status::owed : store::Webhook::Status::waiting;
    if (task.webhook->status != right || task.webhook->attempts != 0) {
      model_.fail(fmt::format("the webhook of {} is not owed with its end", task.input));
    }
  }

  void replay_write(const Session& session, const JsonObject& data, Values& state) {
    for (const auto& [key, hash] : data.at("state").as_object()) {
      if (hash.is_null()) {
        state.erase(std::string(key));
        continue;
      }
      const auto write = session.writes.find(std::string(hash.as_string()));
      if (write == session.writes.end()) {
        model_.fail("a write that nobody made");
      } else {
        state[std::string(key)] = write->second;
      }
    }
  }

  void replay_call(const Session& session, const std::string& type, const JsonObject& data,
                   const store::TaskRecord& task, Values& state) {
    Call& call = model_.calls[Model::number_of(task)];
    const std::int64_t by = parse_json(task.input).at("by").to_number<std::int64_t>();
    if (type == "call.checkpoint") {
      if (task.function != "checkpoint") model_.fail("a checkpoint that nobody asked for");
      ++state["count"];
      return;
    }
    ++call.ends_in_journal;
    if (type == "call.completed") {
      const std::int64_t output = apply(task.function, by, state);
      const bool changes = task.function != "note" && task.function != "end" && task.function != "resource";
      if (task.status != store::TaskStatus::completed || task.output != std::to_string(output)) {
        model_.fail(fmt::format("{} {} gave {}, not {}", task.function, task.input, task.output, output));
      }
      if (data.at("output").as_string() != hash_of(output)) model_.fail("the journal has another output");
      const JsonObject& hashes = data.at("state").as_object();
      const Json* count = hashes.if_contains("count");
      if (changes && count != nullptr && count->is_string() && count->as_string() != hash_of(state["count"])) {
        model_.fail("the journal has another state");
      }
      if (!changes && !hashes.empty()) model_.fail("a call that changes nothing changed the state");
      if (call.begun != 1) model_.fail(fmt::format("{} is completed and ran {} times", task.input, call.begun));
      return;
    }
    const std::string code(data.at("code").as_string());
    if (!may_end_with(task.function, code, call, session)) {
      model_.fail(fmt::format("{} {} ended with {}", task.function, task.input, code));
    }
    if ((type == "call.cancelled") != (task.status == store::TaskStatus::cancelled))
      model_.fail("journal and task differ");
  }

  Model& model_;
};

}  // namespace sojourn::runtime::order
