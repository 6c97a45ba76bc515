#include <iostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/device/board.hpp"

// A MicroPython board on a wire: run code, get values, deploy a function once and call it often.
using sojourn::Async;
using sojourn::device::Board;
using sojourn::device::Function;
using sojourn::device::Value;

const Function mean{"mean", "def mean(values):\n    return sum(values) / len(values)\n", {"mean.py", 1}};

Async<void> use(Board& board, sojourn::Clock& clock) {
  const auto soon = [&] { return clock.instant() + sojourn::Seconds(30); };

  std::cout << "on a " << (co_await board.capabilities(soon())).platform << '\n';
  std::cout << co_await board.exec("import sys\nprint('hello from', sys.platform)", soon());
  std::cout << "2 ** 70 = " << to_python(co_await board.eval("2 ** 70", soon())) << '\n';
  std::cout << "mean = " << to_python(co_await board.call(mean, {sojourn::device::parse_repr("[1, 2, 6]")}, soon()))
            << '\n';

  try {
    co_await board.call(mean, {sojourn::device::parse_repr("[]")}, soon());
  } catch (const sojourn::Error& error) {
    std::cout << "failed: " << error.message() << '\n';
  }
  try {
    co_await board.exec("while True:\n    pass", clock.instant() + sojourn::Milliseconds(100));
  } catch (const sojourn::Error& error) {
    std::cout << "failed: " << error.message() << '\n';
  }
  std::cout << co_await board.exec("print('still there')", soon());
}

Async<void> serve(Board& board, sojourn::Clock& clock) {
  std::exception_ptr failure;
  try {
    co_await use(board, clock);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await board.close();
  if (failure) std::rethrow_exception(failure);
}

int main(int count, char** arguments) try {
  const std::string address = count > 1 ? arguments[1] : "/dev/ttyACM0";
  sojourn::Loop loop;
  sojourn::SystemClock clock;
  sojourn::SystemRandom random;
  Board board(loop.executor(), clock, random, sojourn::device::parse_address(address));
  loop.run(serve(board, clock));
} catch (const sojourn::Error& error) {
  std::cerr << error.message() << '\n';
  return 1;
}
