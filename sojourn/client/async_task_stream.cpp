#include "sojourn/client/async_task_stream.hpp"

#include <fmt/format.h>

#include <deque>
#include <utility>

#include "sojourn/base/limits.hpp"

namespace sojourn::client {

namespace {

constexpr Seconds steady{5};  // a connection that lasted so long was no failure
constexpr std::size_t longest_line = 256 * limits::mebibyte;
constexpr JsonLimits line_limits{.bytes = longest_line, .depth = limits::json_depth + 8};

// The lines of a stream, from the pieces in which its bytes come.
class Lines {
 public:
  // False where a line is longer than any of a server's.
  bool add(std::string_view piece) {
    for (auto end = piece.find('\n'); end != std::string_view::npos; end = piece.find('\n')) {
      tail_ += piece.substr(0, end);
      ready_.push_back(std::exchange(tail_, {}));
      piece.remove_prefix(end + 1);
    }
    tail_ += piece;
    return tail_.size() <= longest_line;
  }

  std::optional<std::string> take() {
    if (ready_.empty()) return std::nullopt;
    std::string line = std::move(ready_.front());
    ready_.pop_front();
    return line;
  }

 private:
  std::string tail_;  // of a line whose end did not come yet
  std::deque<std::string> ready_;
};

bool contains(const JsonArray& fields, std::string_view name) {
  return std::ranges::any_of(fields,
                             [&](const Json& field) { return field.is_string() && field.get_string() == name; });
}

}  // namespace

struct AsyncTaskStream::State {
  Async<void> read_more();
  Async<std::optional<Error>> try_read();
  Async<void> replace(Error broken);
  std::optional<Update> taken_in(const std::string& line);
  std::optional<Update> event_in(std::string event, const Json* data);
  std::optional<Update> change_in(const JsonObject& told, const JsonArray& fields);
  std::optional<Update> snapshot_in(JsonObject told);
  Error lost(const Error& error) const;

  Transport& transport;
  std::string id;
  Patience patience;
  Task task;
  std::optional<Opened> opened{};
  Lines lines{};
  std::uint64_t last_delta = 0;
  unsigned failures = 0;
  Instant opened_at{};
};

AsyncTaskStream::AsyncTaskStream(Transport& transport, std::string task_id, std::optional<Milliseconds> timeout) {
  Patience patience = transport.patience(timeout);
  if (!timeout) patience.end = Instant::max();
  Task task(JsonObject{{"id", task_id}});
  state_ = std::make_unique<State>(transport, std::move(task_id), patience, std::move(task));
}

AsyncTaskStream::AsyncTaskStream(AsyncTaskStream&&) noexcept = default;
AsyncTaskStream& AsyncTaskStream::operator=(AsyncTaskStream&&) noexcept = default;
AsyncTaskStream::~AsyncTaskStream() = default;

const Task& AsyncTaskStream::task() const {
  return state_->task;
}

Async<std::optional<Update>> AsyncTaskStream::next() {
  while (!state_->task.is_over()) {
    if (const std::optional<std::string> line = state_->lines.take()) {
      if (std::optional<Update> update = state_->taken_in(*line)) co_return update;
    } else {
      co_await state_->read_more();
    }
  }
  state_->opened.reset();
  state_->task.check();
  co_return std::nullopt;
}

Async<Task> AsyncTaskStream::result() {
  while (co_await next()) {
  }
  co_return state_->task;
}

Async<void> AsyncTaskStream::State::read_more() {
  if (!opened) {
    Question question{.target = "/tasks/" + path_segment(id) + "/stream", .is_safe = true};
    question.headers.add("Accept", "application/x-ndjson");
    opened = co_await transport.open(std::move(question), patience);
    opened_at = transport.clock().instant();
    lines = {};
  }
  if (std::optional<Error> broken = co_await try_read()) co_await replace(std::move(*broken));
}

// What broke, if anything did.
Async<std::optional<Error>> AsyncTaskStream::State::try_read() {
  try {
    const std::string piece = co_await opened->read(patience.for_next(transport.clock().instant()));
    if (piece.empty()) co_return Error(ErrorCode::connection_failed, "the stream ended before the call");
    if (!lines.add(piece)) co_return Error(ErrorCode::connection_failed, "a line of the stream does not end");
  } catch (const Error& error) {
    co_return error;
  }
  co_return std::nullopt;
}

Async<void> AsyncTaskStream::State::replace(Error broken) {
  opened.reset();
  failures = transport.clock().instant() - opened_at > steady ? 1 : failures + 1;
  if (!co_await transport.pause(failures, patience)) throw lost(broken);
}

Error AsyncTaskStream::State::lost(const Error& error) const {
  return Error(error.code(), fmt::format("{} cannot be followed any longer, and may go on: {}", id, error.message()),
               {{"task_id", id}});
}

// What one line tells that was not known. Lines of a newer server that mean nothing here are left out.
std::optional<Update> AsyncTaskStream::State::taken_in(const std::string& line) {
  JsonObject told;
  try {
    told = parse_json_object(line, line_limits);
  } catch (const Error&) {
    throw lost(
        Error(ErrorCode::connection_failed, fmt::format("{} streams what is no line of a Sojourn server: '{}'",
                                                        transport.options().url, to_valid_utf8(line.substr(0, 200)))))
        .set_retryable(false);
  }
  const Json* const event = told.if_contains("event");
  const Json* const data = told.if_contains("data");
  const Json* const fields = told.if_contains("fields");
  if (event != nullptr && event->is_string()) return event_in(std::string(event->get_string()), data);
  if (data != nullptr && data->is_object() && fields != nullptr && fields->is_array()) {
    return change_in(data->get_object(), fields->get_array());
  }
  const Json* const own_id = told.if_contains("id");
  if (own_id == nullptr || *own_id != Json(id) || !told.contains("status")) return std::nullopt;
  return snapshot_in(std::move(told));
}

std::optional<Update> AsyncTaskStream::State::event_in(std::string event, const Json* data) {
  if (data == nullptr) return std::nullopt;
  if (event != "delta") return Update{.event = std::move(event), .data = *data};
  const JsonObject* const object = data->if_object();
  const Json* const seq = object != nullptr ? object->if_contains("seq") : nullptr;
  const Json* const delta = object != nullptr ? object->if_contains("delta") : nullptr;
  if (seq == nullptr || !seq->is_int64() || delta == nullptr) return std::nullopt;
  const auto number = static_cast<std::uint64_t>(seq->get_int64());
  if (number <= last_delta) return std::nullopt;
  last_delta = number;
  return Update{.event = std::move(event), .data = *delta, .seq = number};
}

std::optional<Update> AsyncTaskStream::State::change_in(const JsonObject& told, const JsonArray& fields) {
  JsonObject merged = task.json();
  for (const auto& [name, value] : told) merged[name] = value;
  task = Task(std::move(merged));
  return Update{.status_changed = contains(fields, "status"), .output_changed = contains(fields, "output")};
}

// Of the whole task what is new since the last line, which may have come on another connection.
std::optional<Update> AsyncTaskStream::State::snapshot_in(JsonObject told) {
  const Task before = std::exchange(task, Task(std::move(told)));
  Update update{.status_changed = task.is_over() || task.status_number() != before.status_number(),
                .output_changed = task.is_over() || task.output() != before.output()};
  if (!update.status_changed && !update.output_changed) return std::nullopt;
  return update;
}

}  // namespace sojourn::client
