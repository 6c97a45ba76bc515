#pragma once

#include <list>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/event.hpp"
#include "sojourn/device/address.hpp"
#include "sojourn/device/capabilities.hpp"

// The boards that a program has, each lent to one session at a time; others wait in their order.
namespace sojourn::device {

struct NamedBoard {
  std::string name;
  Address address;
  bool leased = false;
  std::optional<Capabilities> known = std::nullopt;  // what it could do when a session last asked
};

// Reads "lamp=serial:/dev/ttyACM0; pump=tcp:10.0.0.5:23". Errors: config_invalid.
std::vector<NamedBoard> parse_boards(std::string_view text);

// Threads: one executor.
class BoardPool {
 public:
  // Gives the board back when it goes. Lifetime: the pool outlives it.
  class Lease {
   public:
    Lease(BoardPool& pool, NamedBoard& board) : pool_(&pool), board_(&board) {}
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), board_(other.board_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_ != nullptr) pool_->give_back(*board_);
    }

    const NamedBoard& board() const { return *board_; }
    void remember(Capabilities found) { board_->known = std::move(found); }

   private:
    BoardPool* pool_;
    NamedBoard* board_;
  };

  BoardPool(Clock& clock, std::vector<NamedBoard> boards, std::size_t queue = 64)
      : clock_(clock), boards_(std::move(boards)), queue_(queue) {}
  BoardPool(const BoardPool&) = delete;
  BoardPool& operator=(const BoardPool&) = delete;

  // Any free board, or the one called `name`, waiting for it until `deadline`.
  // Errors: worker_leased at `deadline`, and at once where `queue` wait already (details "waiting": how many before
  // it). Order:  first come, first served, among those who want the same board. Cancel: the place in the queue is
  // given up.
  Async<Lease> lease(std::optional<std::string> name, Instant deadline);

  const std::vector<NamedBoard>& boards() const { return boards_; }
  std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiter {
    std::optional<std::string> name;
    NamedBoard* board = nullptr;  // once it is this one's turn
    Event turn;
  };

  NamedBoard* find_free(const std::optional<std::string>& name);
  void give_back(NamedBoard& board);

  Clock& clock_;
  std::vector<NamedBoard> boards_;
  std::size_t queue_;
  std::list<Waiter*> waiting_;  // each is owned by the coroutine that waits
};

}  // namespace sojourn::device
