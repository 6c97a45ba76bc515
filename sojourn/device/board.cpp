#include "sojourn/device/board.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn::device {

namespace {

// The board holds the repr of a call's values beside them, and small boards have little memory.
constexpr std::size_t most_checked_by_repr = 200;

bool is_identifier(std::string_view name) {
  const auto fits = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto fits_inside = [&](char c) { return fits(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && fits(name.front()) && std::ranges::all_of(name, fits_inside);
}

void drop(std::string_view) {}

std::string literals(const std::vector<Value>& values) {
  std::string code;
  for (const Value& value : values) code += (code.empty() ? "" : ",") + to_python(value);
  return code;
}

}  // namespace

Board::Board(Executor executor, Clock& clock, Random& random, Address address, LinkOptions options)
    : Board(executor, clock, random, make_transport(executor, clock, std::move(address)), std::move(options)) {}

Board::Board(Executor executor, Clock& clock, Random& random, std::unique_ptr<Transport> transport,
             LinkOptions options)
    : link_(std::move(executor), clock, random, std::move(transport), std::move(options)) {}

Async<std::string> Board::exec(std::string code, Instant deadline, RunOptions options) {
  Script script{.code = std::move(code), .on_output = std::move(options.on_output)};
  RunResult result = co_await run(std::move(script), std::move(options.place), deadline);
  co_return std::move(result.output);
}

Async<Value> Board::eval(std::string expression, Instant deadline, RunOptions options) {
  return value_of({.code = std::move(expression), .kind = CodeKind::expression}, std::move(options), deadline);
}

Async<Value> Board::value_of(Script script, RunOptions options, Instant deadline) {
  script.on_output = options.on_output ? std::move(options.on_output) : drop;
  const RunResult result = co_await run(std::move(script), std::move(options.place), deadline);
  co_return result.value.empty() ? Value{None{}} : parse_repr(result.value);
}

Async<void> Board::deploy(Function function, Instant deadline) {
  if (!is_identifier(function.name)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'{}' is no name of a function", to_valid_utf8(function.name)));
  }
  if (is_deployed(function)) co_return;
  std::string code = function.source;
  std::optional<std::size_t> handle;
  if (function.calls != Calls::rarely) {
    handle = handle_for(function.name);
    const auto script = function.calls == Calls::often ? handle_script : bytes_handle_script;
    code += (code.ends_with('\n') ? "" : "\n") + script(*handle, function.name);
  }
  Script script{.code = std::move(code), .kind = CodeKind::definitions, .on_output = drop};
  co_await run(std::move(script), function.place, deadline);
  // The boot is that of the run: a restart before it would have failed it, one since then makes this entry stale.
  deployed_[function.name] = {sha256(function.source), link_.boot(), function.place, handle};
}

// The function's own, or else the lowest that is free, for it is sent with each call.
std::size_t Board::handle_for(const std::string& name) const {
  if (const auto found = deployed_.find(name); found != deployed_.end() && found->second.handle) {
    return *found->second.handle;
  }
  std::size_t handle = 0;
  const auto has_it = [&](const auto& entry) { return entry.second.handle == handle; };
  while (std::ranges::any_of(deployed_, has_it)) ++handle;
  return handle;
}

Async<Value> Board::call(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options) {
  try {
    co_return co_await call_once(function, arguments, deadline, options);
  } catch (const Error& error) {
    if (!has_not_begun(error)) throw;
  }
  co_await link_.open(deadline);
  co_return co_await call_once(std::move(function), std::move(arguments), deadline, std::move(options));
}

Async<Value> Board::call_once(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options) {
  co_await deploy(function, deadline);
  const std::optional<std::size_t> handle = deployed_.at(function.name).handle;
  const std::string repr = handle ? exact_repr(arguments) : "";
  if (repr.empty() || repr.size() > most_checked_by_repr) {
    co_return co_await eval(call_code(function, arguments), deadline, std::move(options));
  }
  Script script{.call = checked_call(*handle, literals(arguments), repr)};
  co_return co_await value_of(std::move(script), std::move(options), deadline);
}

Async<Value> Board::apply(Function function, std::string bytes, Instant deadline, RunOptions options) {
  co_await deploy(function, deadline);
  Script script{.call = checked_bytes(deployed_.at(function.name).handle.value(), bytes)};
  co_return co_await value_of(std::move(script), std::move(options), deadline);
}

std::string Board::call_code(const Function& function, const std::vector<Value>& arguments) {
  return fmt::format("{}({})", function.name, literals(arguments));
}

bool Board::is_deployed(std::string_view name, const Hash& source_hash) const {
  const auto found = deployed_.find(name);
  return found != deployed_.end() && found->second.boot == link_.boot() && found->second.hash == source_hash;
}

Async<void> Board::remove(std::string name, Instant deadline) {
  const auto found = deployed_.find(name);
  if (found == deployed_.end()) co_return;
  const Deployed deployed = found->second;
  deployed_.erase(found);
  if (deployed.boot != link_.boot()) co_return;
  std::string code = fmt::format("globals().pop('{}',None)", name);
  if (deployed.handle) code += fmt::format(";globals().pop('{}{}',None)", guard_name, *deployed.handle);
  co_await run({.code = std::move(code), .on_output = drop}, {}, deadline);
}

Async<Capabilities> Board::capabilities(Instant deadline) {
  if (!capabilities_ || capabilities_boot_ != link_.boot()) {
    Capabilities found = co_await probe(capabilities_ ? identity_probe() : capability_probe(), deadline);
    if (capabilities_ && is_same_device(*capabilities_, found)) {
      found.modules = capabilities_->modules;
    } else if (capabilities_) {
      found = co_await probe(capability_probe(), deadline);
    }
    capabilities_ = std::move(found);
    capabilities_boot_ = link_.boot();
  }
  Capabilities capabilities = *capabilities_;
  capabilities.raw_paste = link_.has_raw_paste();
  co_return capabilities;
}

void Board::remember(std::optional<Capabilities> known) {
  capabilities_ = std::move(known);
  capabilities_boot_ = 0;
}

Async<Capabilities> Board::probe(std::string_view script, Instant deadline) {
  const RunResult result = co_await run({.code = std::string(script)}, {"<probe>", 1}, deadline);
  co_return parse_capabilities(result.output);
}

Async<RunResult> Board::run(Script script, SourcePlace place, Instant deadline) {
  const bool by_handle = script.call.has_value();
  RunResult result = co_await link_.run(std::move(script), deadline);
  if (result.traceback.empty()) co_return result;
  Traceback traceback = parse_traceback(result.traceback);
  // A handle's own frame stands for the caller's line.
  if (by_handle && !traceback.frames.empty()) traceback.frames.front() = {"<string>", 1, "<module>"};
  traceback.begun = result.begun;
  Error error = error_of(std::move(traceback), place);
  throw error;
}

Error Board::error_of(Traceback traceback, const SourcePlace& place) const {
  map_to_host(traceback, place, places());
  return to_error(traceback);
}

std::map<std::string, SourcePlace> Board::places() const {
  std::map<std::string, SourcePlace> places;
  for (const auto& [name, deployed] : deployed_) places.emplace(name, deployed.place);
  return places;
}

}  // namespace sojourn::device
