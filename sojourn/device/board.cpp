#include "sojourn/device/board.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn::device {

namespace {

bool is_identifier(std::string_view name) {
  const auto fits = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto fits_inside = [&](char c) { return fits(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && fits(name.front()) && std::ranges::all_of(name, fits_inside);
}

void drop(std::string_view) {}

// Like the guard, what is to stay is put where the heap begins. The wire may damage this, which no hash covers: it is
// evaluated before the code begins, so that an error says so, and not called.
constexpr std::string_view exec_to_stay = "(__import__('gc').collect(),exec)[1]";

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
  return apply("eval", std::move(expression), deadline, std::move(options));
}

Async<Value> Board::apply(std::string function, std::string bytes, Instant deadline, RunOptions options) {
  Script script{.code = std::move(bytes), .function = std::move(function), .on_output = std::move(options.on_output)};
  if (!script.on_output) script.on_output = drop;
  const RunResult result = co_await run(std::move(script), std::move(options.place), deadline);
  co_return result.value.empty() ? Value{None{}} : parse_repr(result.value);
}

Async<void> Board::deploy(Function function, Instant deadline) {
  if (!is_identifier(function.name)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'{}' is no name of a function", to_valid_utf8(function.name)));
  }
  if (is_deployed(function)) co_return;
  Script script{.code = function.source, .function = std::string(exec_to_stay), .on_output = drop};
  co_await run(std::move(script), function.place, deadline);
  // The boot is that of the run: a restart before it would have failed it, one since then makes this entry stale.
  deployed_[function.name] = {sha256(function.source), link_.boot(), function.place};
}

Async<Value> Board::call(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options) {
  const std::string code = call_code(function, arguments);
  co_await deploy(function, deadline);
  try {
    co_return co_await eval(code, deadline, options);
  } catch (const Error& error) {
    if (!has_not_begun(error)) throw;
  }
  co_await link_.open(deadline);
  co_await deploy(std::move(function), deadline);
  co_return co_await eval(code, deadline, std::move(options));
}

std::string Board::call_code(const Function& function, const std::vector<Value>& arguments) {
  std::string code;
  for (const Value& argument : arguments) code += (code.empty() ? "" : ",") + to_python(argument);
  return fmt::format("{}({})", function.name, code);
}

bool Board::is_deployed(std::string_view name, const Hash& source_hash) const {
  const auto found = deployed_.find(name);
  return found != deployed_.end() && found->second.boot == link_.boot() && found->second.hash == source_hash;
}

Async<void> Board::remove(std::string name, Instant deadline) {
  const auto found = deployed_.find(name);
  if (found == deployed_.end()) co_return;
  const bool gone = found->second.boot != link_.boot();
  deployed_.erase(found);
  if (!gone) co_await run({.code = fmt::format("globals().pop('{}',None)", name), .on_output = drop}, {}, deadline);
}

Async<Capabilities> Board::capabilities(Instant deadline) {
  if (!capabilities_ || capabilities_boot_ != link_.boot()) {
    const RunResult result = co_await run({.code = std::string(capability_probe())}, {"<probe>", 1}, deadline);
    capabilities_ = parse_capabilities(result.output);
    capabilities_boot_ = link_.boot();
  }
  Capabilities capabilities = *capabilities_;
  capabilities.raw_paste = link_.has_raw_paste();
  co_return capabilities;
}

Async<RunResult> Board::run(Script script, SourcePlace place, Instant deadline) {
  RunResult result = co_await link_.run(std::move(script), deadline);
  if (result.traceback.empty()) co_return result;
  Traceback traceback = parse_traceback(result.traceback);
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
