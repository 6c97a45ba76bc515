#include "sojourn/flow/core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <thread>
#include <utility>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/flow/run_journal.hpp"
#include "sojourn/store/durable_file.hpp"

namespace sojourn::flow {

namespace {

// It becomes part of a file's name.
bool is_safe(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

std::string id_of(const Config& config, Time now) {
  SystemRandom random;
  if (!config.run_identifier) return new_session_id(now, random);
  const std::string& id = *config.run_identifier;
  if (id.empty() || id.size() > limits::session_id_bytes || id.front() == '.' || !std::ranges::all_of(id, is_safe)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("run_identifier \"{}\": up to {} letters, digits, '_', '-' or '.', and not '.' first",
                            to_valid_utf8(id), limits::session_id_bytes));
  }
  return id;
}

Uuid drawn_uuid() {
  SystemRandom random;
  return Uuid::draw(random);
}

Json json_of(const std::optional<std::string>& text) {
  return text ? Json(to_valid_utf8(*text)) : Json();
}

// Some 200 MB of messages; past it the oldest are lost to the file of events, not to the record.
constexpr std::size_t event_queue = 1'000'000;

}  // namespace

Core::Core(Strategy& run_on, Clock* given_clock, Settings settings, std::shared_ptr<RunJournal> kept_in)
    : strategy(run_on),
      clock(given_clock == nullptr ? machine_clock : *given_clock),
      journal(std::move(kept_in)),
      config(resolve(settings, config_sources())),
      started(clock.now()),
      id(journal ? journal->id() : id_of(config, started)),
      uuid(drawn_uuid()),
      log(config.logging_setting, config.log_file),
      context(config.context) {
  if (config.broadcast_callback) follow_broadcasts();
  if (!config.save_state) return;
  try {
    home_ = saved_home();
  } catch (const std::filesystem::filesystem_error&) {
    warn("there is no place to save it in", std::current_exception());
    return;
  }
  follow_events();
}

void Core::follow_broadcasts() {
  publisher.subscribe(
      "broadcast",
      MessageHandler([callback = *config.broadcast_callback, loop = std::make_shared<Loop>()](
                         const Message& message) { callback(*loop, std::get<BroadcastEvent>(message.body).item); }),
      {.wants = is_one_of<BroadcastEvent>});
}

void Core::follow_events() {
  std::exception_ptr error;
  try {
    events_ = std::make_shared<EventLines>(home_ / "data" / "events", uuid);
    events_->started(started, {{"session_id", uuid.text()},
                               {"flow_name", json_of(config.flow_name)},
                               {"flow_id", config.flow_name ? Json(flow_id_of(*config.flow_name)) : Json()},
                               {"session_name", json_of(config.name)},
                               {"entry_point_name", nullptr},
                               {"timeout", std::chrono::duration<double>(config.timeout).count()},
                               {"end_on_error", config.end_on_error},
                               {"save_state", true}});
    publisher.subscribe_batches(
        "events", [lines = events_](const auto& messages) { lines->write(messages); },
        {.wants = is_one_of<RequestCreation, RequestSuccess, RequestFailure>, .queue = event_queue});
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) return;
  warn("its events cannot be written", error);
  events_.reset();
}

SavedSession Core::saved() const {
  return {.uuid = uuid, .flow_name = config.flow_name, .name = config.name, .start = started, .end = clock.now()};
}

void Core::conclude() {
  std::call_once(concluded_, [this] {
    const bool delivered = publisher.close(config.grace);
    if (!delivered)
      log.write(clock.now(), LogLevel::warning, "a subscriber did not end: what waited for it is dropped");
    if (home_.empty() && !config.payload_callback) return;
    const Graph graph = record.graph();
    if (!home_.empty()) try_to("it cannot be saved", [&] { save(graph); });
    if (config.payload_callback) {
      try_to("its payload callback failed", [&] { config.payload_callback(saved_state(saved(), graph)); });
    }
    // A subscriber that is stuck may still write.
    if (events_ && delivered) try_to("its last event cannot be written", [&] { end_events(graph); });
  });
}

Async<void> Core::conclude_elsewhere() {
  if (home_.empty() && !config.payload_callback && !publisher.has_subscribers()) {
    conclude();
    co_return;
  }
  const auto self = shared_from_this();
  const auto over = std::make_shared<Crossing>(co_await boost::asio::this_coro::executor, 1);
  const CrossingPlace place(over);
  const std::jthread thread([self, over] {
    self->conclude();
    over->arrive(nullptr);
  });
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  while (!co_await over->wait()) {
  }
  co_await boost::asio::this_coro::throw_if_cancelled(true);
}

void Core::save(const Graph& graph) const {
  const SavedSession session = saved();
  const auto file = saved_file(home_, session);
  store::make_folders(file.parent_path());
  store::replace_file(file, saved_state(session, graph));
}

void Core::end_events(const Graph& graph) {
  const auto failed = std::ranges::find(graph.calls(), CallStatus::failed, [](const CallRecord& call) {
    return call.caller ? CallStatus::open : call.status();
  });
  const bool good = failed == graph.calls().end();
  const double duration = std::chrono::duration<double>(clock.now() - started).count();
  events_->completed(clock.now(), {{"session_id", uuid.text()},
                                   {"status", good ? "success" : "failure"},
                                   {"error", good ? Json() : Json(failed->failure->message)},
                                   {"duration_seconds", duration}});
}

void Core::try_to(std::string_view problem, const std::function<void()>& action) const {
  std::exception_ptr error;
  try {
    action();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) warn(problem, error);
}

void Core::warn(std::string_view what, const std::exception_ptr& error) const {
  log.write(clock.now(), LogLevel::warning,
            fmt::format("flow session {}: {}: {}", id, what, failure_of(error).message));
}

void Core::ended(const std::shared_ptr<Run>& run) {
  std::vector<std::function<void()>> woken;
  {
    const std::scoped_lock lock(mutex);
    runs.erase(run);
    if (runs.empty()) woken.swap(waiting);
  }
  changed.notify_all();
  for (const auto& wake : woken) wake();
}

void Core::when_idle(std::function<void()> wake) {
  {
    const std::scoped_lock lock(mutex);
    if (!runs.empty()) {
      waiting.push_back(std::move(wake));
      return;
    }
  }
  wake();
}

Run::Run(std::shared_ptr<Core> in, Instant until)
    : core(std::move(in)), deadline(until), root(Job::create(core->strategy.new_lane(), nullptr)) {}

bool Run::stop(Error cause) {
  {
    const std::scoped_lock lock(mutex_);
    if (cause_) return false;
    cause_ = std::move(cause);
    if (waiter_) waiter_->interrupt();
  }
  root->cancel();
  return true;
}

void Run::interrupt_when_stopped(std::shared_ptr<Crossing> waiter) {
  const std::scoped_lock lock(mutex_);
  if (cause_) waiter->interrupt();
  waiter_ = std::move(waiter);
}

std::optional<Error> Run::cause() const {
  const std::scoped_lock lock(mutex_);
  return cause_;
}

}  // namespace sojourn::flow
