#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sojourn/device/board.hpp"

// An object that stays on its board: a driver whose attributes and methods are used from here, or a generator that is
// asked for one value after the other.
namespace sojourn::device {

// Threads:  as Board; one operation at a time.
// Lifetime: its board outlives it. What is not released stays on the board until that starts anew.
//
// All fail as Board::eval does, and with worker_lost where the board started anew: the object is gone then.
class BoardObject {
 public:
  // The value of `expression`, kept on the board.
  static Async<BoardObject> make(Board& board, std::string expression, Instant deadline);

  // What `function`, deployed where that is needed, returns for `arguments`: for a generator function, the generator.
  static Async<BoardObject> make(Board& board, Function function, std::vector<Value> arguments, Instant deadline);

  Async<Value> get(std::string attribute, Instant deadline);
  Async<void> set(std::string attribute, Value value, Instant deadline);
  Async<Value> item(Value key, Instant deadline);
  Async<Value> call(std::string method, std::vector<Value> arguments, Instant deadline);

  // The next value of an iterator; nothing at its end. send() gives a generator the value of the yield it stands at.
  Async<std::optional<Value>> next(Instant deadline);
  Async<std::optional<Value>> send(Value value, Instant deadline);

  // Takes it off the board, where it is still there.
  Async<void> release(Instant deadline);

 private:
  BoardObject(Board& board, std::string name) : board_(&board), name_(std::move(name)), boot_(board.link().boot()) {}

  void require_there() const;
  Async<Value> ask(std::string code, Instant deadline);
  Async<std::optional<Value>> advance(std::string arguments, Instant deadline);

  Board* board_;
  std::string name_;  // the variable on the board that holds it
  std::uint64_t boot_;
};

// What a board's clock of milliseconds shows, beside the host's.
struct BoardTime {
  Milliseconds ticks{};     // of the board, since a moment of its own; they wrap around after days
  Instant at;               // when it showed them
  Microseconds accuracy{};  // at most so far from `at`: half of the shortest way there and back
};

// Asks `samples` times and trusts the answer that came the fastest. Errors: as Board::eval; app_error on a board
// without such a clock.
Async<BoardTime> read_time(Board& board, Clock& clock, Instant deadline, int samples = 10);

}  // namespace sojourn::device
