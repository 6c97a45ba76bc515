#pragma once

#include "sojourn/device/board_bench_test.hpp"
#include "sojourn/device/device_session_manager.hpp"

namespace sojourn::device {

// A board whose sessions a manager begins, which is closed afterwards.
class SessionBench : public BoardBench {
 public:
  using Body = Async<void> (*)(SessionBench&, Board&, DeviceSessionManager&);

  void with_manager(Kind kind, Body body, DeviceSessionManager::Options options = {}) {
    options_ = std::move(options);
    body_ = body;
    with_board(std::move(kind), with);
  }

 private:
  static Async<void> with(BoardBench& test, Board& board) {
    auto& bench = static_cast<SessionBench&>(test);
    Log quiet = Log::silent();
    DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, quiet, bench.options_);
    std::exception_ptr error;
    try {
      co_await bench.body_(bench, board, manager);
      co_await manager.close();
    } catch (...) {
      error = std::current_exception();
    }
    if (error) {
      manager.dispose();
      co_await manager.close();
      std::rethrow_exception(error);
    }
  }

  DeviceSessionManager::Options options_;
  Body body_ = nullptr;
};

}  // namespace sojourn::device
