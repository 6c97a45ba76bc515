#include "sojourn/cli/dry_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/runtime/leftover_resource.hpp"
#include "sojourn/runtime/resource_ledger.hpp"

namespace sojourn::cli {

namespace {

constexpr auto start_time = Seconds(30);
constexpr auto close_time = Seconds(10);

class DryCall final : public session::CallScope {
 public:
  DryCall(session::Session& session, session::WorkerEvents& events, session::CallRequest request)
      : session_(session), events_(events), request_(std::move(request)) {}

  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json) override {}
  void emit_delta(Json) override {}
  void log(LogLevel level, std::string_view message, JsonObject fields) override {
    events_.log(level, "app", message, std::move(fields));
  }
  void record(std::string, JsonObject) override {}
  Async<void> checkpoint() override {
    session_.state().accept();
    co_return;
  }
  void end_session() override {}
  Async<Json> call_app(std::string app, std::string, Json) override {
    throw Error(ErrorCode::app_not_found, fmt::format("there is no app {} in a dry run", app));
    co_return nullptr;
  }
  bool cancel_requested() const override { return false; }
  Async<void> cancel_wait() override { co_await never_.wait(); }

 private:
  session::Session& session_;
  session::WorkerEvents& events_;
  session::CallRequest request_;
  Event never_;
};

// Whether a call that failed with it has left no worker behind.
bool ends_worker(const Error& error) {
  return error.code() == ErrorCode::worker_lost || error.code() == ErrorCode::protocol_error ||
         error.code() == ErrorCode::call_timeout;
}

}  // namespace

// What an app says to its session is taken and forgotten, but for what it prints.
class DryRun::Events final : public session::WorkerEvents {
 public:
  explicit Events(Listener listener) : listener_(std::move(listener)) {}

  void log(LogLevel, std::string_view stream, std::string_view message, JsonObject fields) override {
    if (fields.contains("code") && fields.at("code") == Json(sojourn::info(ErrorCode::cleanup_failed).wire)) {
      const Json* failure = fields.if_contains("failure");
      unclean.push_back("clean-up failed: " + to_text(failure == nullptr ? Json() : *failure));
      return;
    }
    if (stream == "stdout" && !printed) printed = std::string(message);
    if (listener_) listener_(stream, message);
  }
  void resource_added(session::ResourceNote resource) override {
    resources.add({.session_id = session.id(),
                   .id = resource.id,
                   .kind = resource.kind,
                   .cost = resource.cost,
                   .cleanup = to_text(resource.cleanup)});
    if (resource.recorded) resource.recorded->set(true);
  }
  void resource_released(std::string_view id) override { resources.release(id); }
  void lost(Error cause) override { loss = std::move(cause); }

  session::Session session{"check"};
  runtime::ResourceLedger resources;
  std::vector<std::string> unclean;  // what the worker said it could not clean up
  std::optional<std::string> printed;
  std::optional<Error> loss;

 private:
  Listener listener_;
};

DryRun::DryRun(worker::Manifest manifest, Executor executor, const std::string& folder, Listener listener)
    : executor_(std::move(executor)),
      folder_(folder.empty() ? scratch_.emplace().path().string() : folder),
      supervisor_(executor_, clock_, log_),
      app_(std::move(manifest), supervisor_, isolation_, clock_, log_),
      events_(std::make_unique<Events>(std::move(listener))) {}

DryRun::~DryRun() = default;

bool DryRun::offers(std::string_view function) const {
  return std::ranges::find(info().functions, function) != info().functions.end();
}

Async<void> DryRun::open() {
  worker_ = co_await app_.open({.session_id = events_->session.id(), .folder = folder_, .events = events_.get()},
                               clock_.instant() + start_time);
}

Async<Json> DryRun::call(std::string function, Json input) {
  const Instant deadline = clock_.instant() + info().call_timeout;
  const auto alarm = clock_.set_alarm(deadline, executor_, [this] {
    worker_->kill(Error(ErrorCode::call_timeout, "the call took longer than its call_timeout"));
  });
  DryCall scope(events_->session, *events_,
                {.task_id = "check",
                 .function = std::move(function),
                 .input = std::move(input),
                 .outside_changes = {},
                 .deadline = deadline});
  try {
    Json output = co_await worker_->call(scope);
    events_->session.state().accept();
    co_return output;
  } catch (const Error& error) {
    if (ends_worker(error)) events_->loss = error;
    throw;
  }
}

Async<void> DryRun::close() {
  const std::optional<Error> loss = events_->loss;
  const auto worker = std::exchange(worker_, nullptr);
  co_await worker->close(session::CloseReason::ended, clock_.instant() + close_time);
  if (loss) throw Error(*loss);
  events_->resources.take_open();  // it has cleaned them up itself
}

Async<void> DryRun::end() {
  try {
    if (worker_) co_await close();
  } catch (const Error&) {
    // It ends whatever it says.
  }
  co_await app_.close();
  co_await supervisor_.close();
  leaked_ = std::exchange(events_->unclean, {});
  for (const store::ResourceRecord& resource : events_->resources.take_open()) {
    const auto failure = runtime::clean_up_leftover(resource, folder_);
    if (failure) leaked_.push_back(fmt::format("{} '{}' was left behind: {}", resource.kind, resource.id, *failure));
  }
}

const std::optional<std::string>& DryRun::printed() const {
  return events_->printed;
}

}  // namespace sojourn::cli
