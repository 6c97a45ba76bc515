#include "sojourn/flow/isolated.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <set>

#include "sojourn/flow/core.hpp"
#include "sojourn/flow/crossing.hpp"

namespace sojourn::flow {

namespace asio = boost::asio;

namespace {

// Past any deadline, and yet no sum with it overflows.
constexpr auto without_end = std::chrono::hours(24 * 365);

Async<void> run_there(IsolatedCalls& there, IsolatedCall call, std::shared_ptr<Json> output) {
  *output = co_await there.call(std::move(call));
}

// The error, as what it was before it came here, where it ends a run by what it is.
void rethrow_fatal(const Error& error) {
  const std::string type = failure_of(std::make_exception_ptr(error)).type;
  if (type != failure_of(std::make_exception_ptr(Fatal(""))).type) return;
  // It ended the run of the other process too, whose words tell of that.
  const Json* message = error.details().if_contains("message");
  throw Fatal(message != nullptr && message->is_string() ? std::string(message->get_string()) : error.message());
}

}  // namespace

Async<Json> detail::call_elsewhere(Scope& scope, JsonArray arguments) {
  IsolatedCalls* const there = scope.run_.core->config.isolated;
  const std::string path = fmt::format("{}", fmt::join(scope.path(), " > "));
  if (there == nullptr) {
    throw Error(
        ErrorCode::config_invalid,
        fmt::format("node \"{}\" ({}) is isolated, and nothing runs isolated nodes for the flow session: give "
                    "Settings::isolated a crew::Crew",
                    scope.node_name(), path),
        {{"node", scope.node_name()}, {"path", path}});
  }
  const auto output = std::make_shared<Json>();  // shared with the job, which a pool that ends leaves behind
  const auto over = std::make_shared<Crossing>(scope.job_.lane(), 1);
  const CrossingPlace place(over);
  // Below this job, so that what stops it stops the call.
  const auto job = Job::create(there->executor(), scope.job_.shared_from_this());
  job->start(
      run_there(
          *there,
          {.node = scope.node_name(), .path = path, .arguments = std::move(arguments), .deadline = scope.deadline()},
          output),
      [over](std::exception_ptr error) { over->arrive(std::move(error)); });
  co_await asio::this_coro::throw_if_cancelled(false);
  while (!co_await over->wait()) job->cancel();
  co_await asio::this_coro::throw_if_cancelled(true);
  try {
    over->rethrow();
  } catch (const Error& error) {
    rethrow_fatal(error);
    throw;
  }
  co_return std::move(*output);
}

void IsolatedNode::check(const NodeType& type) {
  if (type.isolated) return;
  throw Error(ErrorCode::invalid_request,
              fmt::format("node \"{}\" is not isolated, so no other process runs it: mark it flow::isolated(\"{}\")",
                          type.name, type.name));
}

namespace {

// One session for all calls: what one of them leaves behind in a process is there for the next anyway.
class IsolatedWorker final : public session::Worker {
 public:
  IsolatedWorker(Strategy& strategy, const std::vector<IsolatedNode>& nodes)
      : nodes_(nodes),
        session_(strategy, {.timeout = without_end,
                            .end_on_error = false,
                            .logging_setting = LoggingSetting::none,
                            .save_state = false,
                            .grace = without_end,  // who calls ends the process sooner
                            .record = false}) {}

  Async<Json> call(session::CallScope& scope) override {
    const session::CallRequest& request = scope.request();
    const auto node = std::ranges::find(nodes_, request.function, &IsolatedNode::name);
    if (node == nodes_.end()) throw Error(ErrorCode::function_not_found, "there is no node " + request.function);
    // Before there was a run to cancel.
    if (scope.cancel_requested()) throw Error(ErrorCode::cancelled, "the call was cancelled");
    std::exception_ptr failure;
    Json output;
    try {
      output = co_await node->function()(session_, request.input);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) throw error_of(failure);
    co_return output;
  }

  void cancel() override { session_.cancel(); }
  void kill(const Error&) override { session_.cancel(); }
  Async<void> close(session::CloseReason, Instant) override { co_await session_.close(); }

 private:
  const std::vector<IsolatedNode>& nodes_;
  Session session_;
};

class IsolatedApp final : public session::App {
 public:
  IsolatedApp(Strategy& strategy, std::vector<IsolatedNode> nodes) : strategy_(strategy), nodes_(std::move(nodes)) {
    std::set<std::string> names;
    info_.functions.clear();
    for (const IsolatedNode& node : nodes_) {
      info_.functions.push_back(node.name());
      if (names.insert(node.name()).second) continue;
      throw Error(ErrorCode::invalid_request, fmt::format("two isolated nodes are named \"{}\"", node.name()));
    }
  }

  const session::AppInfo& info() const override { return info_; }

  Async<std::unique_ptr<session::Worker>> open(session::Opening, Instant) override {
    co_return std::make_unique<IsolatedWorker>(strategy_, nodes_);
  }

 private:
  session::AppInfo info_{.name = "this program's list of isolated nodes"};
  Strategy& strategy_;
  std::vector<IsolatedNode> nodes_;
};

}  // namespace

std::unique_ptr<session::App> isolated_app(Strategy& strategy, std::vector<IsolatedNode> nodes) {
  return std::make_unique<IsolatedApp>(strategy, std::move(nodes));
}

}  // namespace sojourn::flow
