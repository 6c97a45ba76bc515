#include "sojourn/runtime/planned_call.hpp"

#include <utility>

namespace sojourn::runtime {

store::JsonText plan_text(const LiveCall& call) {
  return to_text(JsonObject{{"actor", call.actor},
                            {"timeout_ms", call.timeout.count()},
                            {"names_files", call.names_files},
                            {"ends_session", call.ends_session}});
}

std::shared_ptr<LiveCall> planned_call(store::TaskRecord task, std::string app) {
  const JsonObject plan = parse_json_object(task.plan);
  const Milliseconds timeout(plan.at("timeout_ms").to_number<std::int64_t>());
  auto call = std::make_shared<LiveCall>(std::move(task), std::move(app), Json(),
                                         std::string(plan.at("actor").as_string()), timeout);
  call->names_files = plan.at("names_files").as_bool();
  call->ends_session = plan.at("ends_session").as_bool();
  call->is_stored = true;
  return call;
}

}  // namespace sojourn::runtime
