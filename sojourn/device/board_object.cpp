#include "sojourn/device/board_object.hpp"

#include <fmt/format.h>

namespace sojourn::device {

namespace {

// Keeps what it gets under a name that is free.
const Function keep_object{"_sj_keep",
                           "def _sj_keep(o):\n"
                           " i=0\n"
                           " while '_sj_o%d'%i in globals():i+=1\n"
                           " globals()['_sj_o%d'%i]=o\n"
                           " return '_sj_o%d'%i\n",
                           {"board_object.cpp", 1}};

// A value that is the last needs another sign than itself: one value comes in a tuple, the end as an empty one.
const Function next_value{"_sj_next",
                          "def _sj_next(g,*a):\n"
                          " try:return (g.send(a[0]) if a else next(g),)\n"
                          " except StopIteration:return ()\n",
                          {"board_object.cpp", 1}};

const Function board_ticks{"_sj_ticks",
                           "def _sj_ticks():\n"
                           " try:\n"
                           "  import time\n"
                           "  return time.ticks_ms()\n"
                           " except (ImportError,AttributeError):\n"
                           "  import microbit\n"
                           "  return microbit.running_time()\n",
                           {"board_object.cpp", 1}};

std::string joined(const std::vector<Value>& arguments) {
  std::string code;
  for (const Value& argument : arguments) code += (code.empty() ? "" : ",") + to_python(argument);
  return code;
}

}  // namespace

Async<BoardObject> BoardObject::make(Board& board, std::string expression, Instant deadline) {
  co_await board.deploy(keep_object, deadline);
  const Value name = co_await board.eval(fmt::format("_sj_keep({})", expression), deadline);
  const auto* text = std::get_if<std::string>(&name.is);
  if (text == nullptr) throw Error(ErrorCode::protocol_error, "the board did not say where it keeps an object");
  co_return BoardObject(board, *text);
}

Async<BoardObject> BoardObject::make(Board& board, Function function, std::vector<Value> arguments,
                                     Instant deadline) {
  std::string code = Board::call_code(function, arguments);
  co_await board.deploy(std::move(function), deadline);
  co_return co_await make(board, std::move(code), deadline);
}

void BoardObject::require_there() const {
  if (board_->link().boot() != boot_) {
    throw Error(ErrorCode::worker_lost, "the board started anew: the object on it is gone");
  }
}

Async<Value> BoardObject::ask(std::string code, Instant deadline) {
  require_there();
  co_return co_await board_->eval(name_ + code, deadline);
}

Async<Value> BoardObject::get(std::string attribute, Instant deadline) {
  return ask("." + attribute, deadline);
}

Async<void> BoardObject::set(std::string attribute, Value value, Instant deadline) {
  require_there();
  co_await board_->exec(fmt::format("{}.{}={}", name_, attribute, to_python(value)), deadline);
}

Async<Value> BoardObject::item(Value key, Instant deadline) {
  return ask(fmt::format("[{}]", to_python(key)), deadline);
}

Async<Value> BoardObject::call(std::string method, std::vector<Value> arguments, Instant deadline) {
  return ask(fmt::format(".{}({})", method, joined(arguments)), deadline);
}

Async<std::optional<Value>> BoardObject::next(Instant deadline) {
  return advance(name_, deadline);
}

Async<std::optional<Value>> BoardObject::send(Value value, Instant deadline) {
  return advance(fmt::format("{},{}", name_, to_python(value)), deadline);
}

Async<std::optional<Value>> BoardObject::advance(std::string arguments, Instant deadline) {
  require_there();
  co_await board_->deploy(next_value, deadline);
  Value answer = co_await board_->eval(fmt::format("_sj_next({})", arguments), deadline);
  auto* tuple = std::get_if<Tuple>(&answer.is);
  if (tuple == nullptr) co_return answer;  // its value has no literal, and so has no tuple that holds it
  if (tuple->items.empty()) co_return std::nullopt;
  co_return std::move(tuple->items.front());
}

Async<void> BoardObject::release(Instant deadline) {
  if (board_->link().boot() != boot_) co_return;
  co_await board_->exec(fmt::format("globals().pop('{}',None)", name_), deadline);
}

Async<BoardTime> read_time(Board& board, Clock& clock, Instant deadline, int samples) {
  std::optional<BoardTime> best;
  for (int i = 0; i < samples; ++i) {
    const Instant asked = clock.instant();
    const Value answer = co_await board.call(board_ticks, {}, deadline);
    const Instant answered = clock.instant();
    const auto* ticks = std::get_if<std::int64_t>(&answer.is);
    if (ticks == nullptr) throw Error(ErrorCode::protocol_error, "the board's clock shows no number");
    const auto accuracy = std::chrono::ceil<Microseconds>((answered - asked) / 2);
    if (!best || accuracy < best->accuracy)
      best = BoardTime{Milliseconds(*ticks), asked + (answered - asked) / 2, accuracy};
  }
  if (!best) throw Error(ErrorCode::invalid_request, "the clock must be asked at least once");
  co_return *best;
}

}  // namespace sojourn::device
