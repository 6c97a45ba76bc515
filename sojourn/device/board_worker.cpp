#include "sojourn/device/board_worker.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/signature.hpp"
#include "sojourn/device/board_files.hpp"
#include "sojourn/device/board_sync.hpp"

namespace sojourn::device {

namespace {

using session::CallScope;

// The board's own deadline lies before the call's, so that a call that is late fails and its session goes on.
constexpr Milliseconds margin(250);

std::string text_of(const JsonObject& input, std::string_view name) {
  const Json* value = input.if_contains(name);
  if (value == nullptr || !value->is_string()) {
    throw Error(ErrorCode::invalid_request, fmt::format("the input lacks \"{}\", a string", name));
  }
  return std::string(value->as_string());
}

std::string decoded(const Json& base64) {
  auto bytes = base64.is_string() ? from_base64(std::string_view(base64.get_string())) : std::nullopt;
  if (!bytes) throw Error(ErrorCode::invalid_request, "\"base64\" is none");
  return std::move(*bytes);
}

// {PATH: TEXT or {"base64": ...}}
FileTree file_tree(const JsonObject& input) {
  const Json* files = input.if_contains("files");
  if (files == nullptr || !files->is_object()) {
    throw Error(ErrorCode::invalid_request, "the input lacks \"files\", an object of paths and contents");
  }
  FileTree tree;
  for (const auto& [path, content] : files->get_object()) {
    const Json* base64 = content.is_object() ? content.get_object().if_contains("base64") : nullptr;
    if (base64 == nullptr && !content.is_string()) {
      throw Error(ErrorCode::invalid_request, "a file is a text, or an object with \"base64\"");
    }
    tree.emplace(path, base64 != nullptr ? decoded(*base64) : std::string(content.get_string()));
  }
  return tree;
}

JsonArray texts(const std::vector<std::string>& paths) {
  JsonArray array;
  for (const std::string& path : paths) array.push_back(to_valid_utf8(path).c_str());
  return array;
}

std::vector<Value> arguments_of(const JsonObject& input) {
  std::vector<Value> arguments;
  if (const Json* given = input.if_contains("arguments")) {
    if (!given->is_array()) throw Error(ErrorCode::invalid_request, "\"arguments\" must be an array");
    for (const Json& argument : given->get_array()) arguments.push_back(from_json(argument));
  }
  return arguments;
}

std::optional<Milliseconds> milliseconds_of(const JsonObject& input, std::string_view name) {
  const Json* given = input.if_contains(name);
  if (given == nullptr) return std::nullopt;
  if (!given->is_int64()) throw Error(ErrorCode::invalid_request, fmt::format("\"{}\" must be an integer", name));
  return Milliseconds(given->get_int64());
}

Json value_json(const Value& value) {
  return JsonObject{{"value", to_json(value)}};
}

}  // namespace

BoardWorker::BoardWorker(std::shared_ptr<BoardPool> pool, BoardPool::Lease lease, Executor executor, Clock& clock,
                         Random& random)
    : pool_(std::move(pool)),
      lease_(std::move(lease)),
      clock_(clock),
      board_(executor, clock, random, lease_.board().address),
      threads_(board_, clock),
      calls_(executor) {
  board_.remember(lease_.board().known);
}

Async<void> BoardWorker::start(Instant deadline) {
  std::exception_ptr failure;
  try {
    co_await board_.open(deadline);
    co_await board_.soft_reset(deadline);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  co_await board_.close();
  std::rethrow_exception(failure);
}

const std::map<std::string, BoardWorker::Handler, std::less<>>& BoardWorker::handlers() {
  static const std::map<std::string, Handler, std::less<>> all = {{"exec", &BoardWorker::exec},
                                                                  {"eval", &BoardWorker::eval},
                                                                  {"deploy", &BoardWorker::deploy},
                                                                  {"call", &BoardWorker::call_function},
                                                                  {"thread_start", &BoardWorker::start_thread},
                                                                  {"thread_stop", &BoardWorker::stop_thread},
                                                                  {"threads", &BoardWorker::threads},
                                                                  {"put", &BoardWorker::put},
                                                                  {"get", &BoardWorker::get},
                                                                  {"sync", &BoardWorker::sync},
                                                                  {"list", &BoardWorker::list},
                                                                  {"remove", &BoardWorker::remove},
                                                                  {"info", &BoardWorker::info},
                                                                  {"reset", &BoardWorker::reset}};
  return all;
}

// The call runs apart, so that it can be cancelled at whatever it waits for; this waits until nothing of it is left.
Async<Json> BoardWorker::call(CallScope& scope) {
  Json output;
  std::exception_ptr failure;
  calls_.spawn(serve(scope, output, failure));
  co_await calls_.join();
  if (killed_) throw *killed_;
  if (failure) std::rethrow_exception(failure);
  co_return output;
}

Async<void> BoardWorker::serve(CallScope& scope, Json& output, std::exception_ptr& failure) {
  failure = std::make_exception_ptr(Error(ErrorCode::cancelled, "the call was cancelled, and the board interrupted"));
  try {
    const session::CallRequest& request = scope.request();
    const auto handler = handlers().find(request.function);
    if (handler == handlers().end()) {
      throw Error(ErrorCode::function_not_found, fmt::format("a board has no function {}", request.function));
    }
    const JsonObject input = request.input.is_object() ? request.input.get_object() : JsonObject();
    output = co_await (this->*handler->second)(scope, input, request.deadline - margin);
    failure = nullptr;
  } catch (const Error&) {
    failure = std::current_exception();
  }
}

Async<Json> BoardWorker::exec(CallScope& scope, const JsonObject& input, Instant deadline) {
  std::string output;
  const RunOptions options{.on_output = [&](std::string_view text) {
    output += text;
    scope.emit(JsonObject{{"printed", to_valid_utf8(text)}});
  }};
  co_await board_.exec(text_of(input, "code"), deadline, options);
  co_return JsonObject{{"output", to_valid_utf8(output)}};
}

Async<Json> BoardWorker::eval(CallScope&, const JsonObject& input, Instant deadline) {
  co_return value_json(co_await board_.eval(text_of(input, "expression"), deadline));
}

Async<Json> BoardWorker::deploy(CallScope&, const JsonObject& input, Instant deadline) {
  Function function{.name = text_of(input, "name"), .source = text_of(input, "source")};
  function.place.file = function.name;
  co_await board_.deploy(function, deadline);
  const std::string name = function.name;
  functions_.insert_or_assign(name, std::move(function));
  co_return JsonObject{{"deployed", name}};
}

Async<Json> BoardWorker::call_function(CallScope& scope, const JsonObject& input, Instant deadline) {
  if (input.contains("source")) co_await deploy(scope, input, deadline);
  const Function& function = deployed(input);
  co_return value_json(co_await board_.call(function, arguments_of(input), deadline));
}

const Function& BoardWorker::deployed(const JsonObject& input) const {
  const std::string name = text_of(input, "name");
  const auto function = functions_.find(name);
  if (function == functions_.end()) {
    throw Error(ErrorCode::invalid_request, fmt::format("no function {} was deployed", to_valid_utf8(name)));
  }
  return function->second;
}

Async<Json> BoardWorker::start_thread(CallScope& scope, const JsonObject& input, Instant deadline) {
  if (input.contains("source")) co_await deploy(scope, input, deadline);
  const Function& function = deployed(input);
  ThreadOptions options;
  options.period = milliseconds_of(input, "period_ms");
  options.max_runtime = milliseconds_of(input, "max_runtime_ms").value_or(options.max_runtime);
  options.restart_after = milliseconds_of(input, "restart_after_ms").value_or(options.restart_after);
  options.heartbeat_timeout = milliseconds_of(input, "heartbeat_timeout_ms").value_or(options.heartbeat_timeout);
  options.stop_timeout = milliseconds_of(input, "stop_timeout_ms").value_or(options.stop_timeout);
  const std::string id = threads_.allocate_id(function.name);
  co_await threads_.start(id, function, arguments_of(input), options, deadline);
  co_return JsonObject{{"thread", id}};
}

Async<Json> BoardWorker::stop_thread(CallScope&, const JsonObject& input, Instant deadline) {
  const std::string id = text_of(input, "thread");
  const ThreadOptions* const options = threads_.options_of(id);
  if (options != nullptr) deadline = std::min(deadline, clock_.instant() + options->stop_timeout);
  co_await threads_.stop(id, deadline);
  co_return JsonObject{{"stopped", id}};
}

Async<Json> BoardWorker::threads(CallScope&, const JsonObject&, Instant deadline) {
  co_await threads_.check(deadline);
  JsonArray all;
  for (const BackgroundThreadInfo& thread : threads_.list()) all.push_back(to_json(thread));
  co_return JsonObject{{"threads", std::move(all)}};
}

Async<Json> BoardWorker::put(CallScope&, const JsonObject& input, Instant deadline) {
  const bool encoded = input.contains("base64");
  std::string data = text_of(input, encoded ? "base64" : "text");
  if (encoded) data = decoded(input.at("base64"));
  const std::size_t size = data.size();
  co_await BoardFiles(board_).write(text_of(input, "path"), std::move(data), deadline);
  co_return JsonObject{{"bytes", size}};
}

Async<Json> BoardWorker::get(CallScope&, const JsonObject& input, Instant deadline) {
  const std::string data = co_await BoardFiles(board_).read(text_of(input, "path"), deadline);
  JsonObject output{{"base64", to_base64(data)}, {"bytes", data.size()}};
  if (is_valid_utf8(data)) output["text"] = data;
  co_return output;
}

Async<Json> BoardWorker::sync(CallScope& scope, const JsonObject& input, Instant deadline) {
  const Json* remove_others = input.if_contains("remove_others");
  const SyncOptions options{
      .remove_others = remove_others != nullptr && *remove_others == Json(true),
      .on_progress = [&](const std::string& path, std::uint64_t done, std::uint64_t total) {
        scope.emit(JsonObject{{"sending", to_valid_utf8(path)}, {"done", done}, {"total", total}});
      }};
  const std::string folder = input.contains("folder") ? text_of(input, "folder") : ".";
  const SyncReport report = co_await sync_to_board(board_, file_tree(input), folder, deadline, options);
  co_return JsonObject{{"sent", texts(report.sent)}, {"removed", texts(report.removed)}, {"kept", report.kept}};
}

Async<Json> BoardWorker::list(CallScope&, const JsonObject& input, Instant deadline) {
  const std::string folder = input.contains("folder") ? text_of(input, "folder") : ".";
  JsonArray files;
  for (const BoardFile& file : co_await BoardFiles(board_).list(folder, deadline)) {
    files.push_back(JsonObject{{"name", to_valid_utf8(file.name)}, {"size", file.size}, {"folder", file.is_folder}});
  }
  co_return JsonObject{{"files", std::move(files)}};
}

Async<Json> BoardWorker::remove(CallScope&, const JsonObject& input, Instant deadline) {
  const std::string path = text_of(input, "path");
  co_await BoardFiles(board_).remove(path, deadline);
  co_return JsonObject{{"removed", path}};
}

Async<Json> BoardWorker::info(CallScope&, const JsonObject&, Instant deadline) {
  const Capabilities capabilities = co_await board_.capabilities(deadline);
  lease_.remember(capabilities);
  JsonObject found = to_json(capabilities);
  found["name"] = lease_.board().name;
  co_return found;
}

Async<Json> BoardWorker::reset(CallScope&, const JsonObject& input, Instant deadline) {
  threads_.forget();  // they end with the memory that they ran in
  const Json* hard = input.if_contains("hard");
  if (hard != nullptr && *hard == Json(true)) {
    co_await board_.restart(deadline);
    co_return JsonObject{{"reset", "hard"}};
  }
  co_await board_.soft_reset(deadline);
  co_return JsonObject{{"reset", "soft"}};
}

// Leaves the board as it found it: with an empty memory, for whoever comes next.
Async<void> BoardWorker::close(session::CloseReason, Instant deadline) {
  calls_.cancel();
  co_await calls_.join();
  std::exception_ptr failure;
  try {
    co_await board_.soft_reset(std::max(deadline - margin, clock_.instant()));
  } catch (const Error&) {
    failure = std::current_exception();
  }
  co_await board_.close();
  if (failure && !killed_) std::rethrow_exception(failure);
}

void BoardWorker::kill(const Error& cause) {
  if (!killed_) killed_ = cause;
  calls_.cancel();
}

JsonObject BoardWorker::describe() const {
  return {{"board", lease_.board().name},
          {"address", to_display(lease_.board().address)},
          {"state", to_string(board_.link().state())}};
}

}  // namespace sojourn::device
