#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "sojourn/base/loop.hpp"
#include "sojourn/device/board.hpp"

// Real MicroPython for tests, as scripts/setup --devices installs it: the micro:bit's firmware in QEMU, and the
// WebAssembly port in Node. Both run as a transport's subprocess, so nothing of them outlives a test.
namespace sojourn::device {

// What a test needs to know of a kind of board.
struct Kind {
  const char* name;
  std::string address;
  std::filesystem::path needs;  // is there where the board is installed
  std::string platform;
};

Kind microbit();
Kind webassembly();
Kind webassembly_with_paste();

// No MicroPython (tests/devices/thread_board.py): for what needs _thread, which neither of the real boards has.
Kind stand_in_with_threads(std::string_view options = "");

// A board, a loop to use it on, and the words that tests need.
class BoardBench : public testing::TestWithParam<Kind (*)()> {
 public:
  void with_board(Kind kind, Async<void> (*body)(BoardBench&, Board&), LinkOptions options = {}) {
    require(kind);
    if (IsSkipped()) return;
    loop.run(run(*this, std::move(kind), body, std::move(options)));
  }

  static void require(const Kind& kind) {
    if (std::filesystem::exists(kind.needs)) return;
    GTEST_SKIP() << "\n\n*** NO BOARD '" << kind.name << "', SO THIS WAS NOT TESTED: " << kind.needs
                 << " is not installed.\n*** ./scripts/setup --devices says why it could not be.\n";
  }

  static Async<void> run(BoardBench& bench, Kind kind, Async<void> (*body)(BoardBench&, Board&),
                         LinkOptions options) {
    Board board(bench.loop.executor(), bench.clock, bench.random, parse_address(kind.address), std::move(options));
    std::exception_ptr error;
    try {
      co_await body(bench, board);
    } catch (...) {
      error = std::current_exception();
    }
    co_await board.close();
    if (error) std::rethrow_exception(error);
  }

  Instant in(Milliseconds time) { return clock.instant() + time; }
  Instant soon() { return in(Seconds(60)); }  // for what must succeed, on a slow machine too

  template <class T>
  static Async<Error> error_of(Async<T> action) {
    try {
      co_await std::move(action);
    } catch (const Error& error) {
      co_return error;
    }
    ADD_FAILURE() << "did not fail";
    co_return Error(ErrorCode::internal_error, "");
  }

  Loop loop;
  SystemClock clock;
  SeededRandom random{7};
};

}  // namespace sojourn::device
