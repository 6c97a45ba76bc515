#include "sojourn/device/board_pool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

bool is_name(std::string_view name) {
  const auto fits = [](char c) { return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); };
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, fits);
}

}  // namespace

std::vector<NamedBoard> parse_boards(std::string_view text) {
  std::vector<NamedBoard> boards;
  for (const auto part : std::views::split(text, ';')) {
    const std::string_view entry = trim(std::string_view(part.begin(), part.end()));
    if (entry.empty()) continue;
    const std::size_t equals = entry.find('=');
    const std::string_view name = trim(entry.substr(0, equals));
    if (equals == entry.npos || !is_name(name) || name == "board") {
      throw Error(
          ErrorCode::config_invalid,
          fmt::format("'{}' is no NAME=ADDRESS with a name of small letters, digits and '-' other than 'board'",
                      to_valid_utf8(entry)));
    }
    if (std::ranges::find(boards, name, &NamedBoard::name) != boards.end()) {
      throw Error(ErrorCode::config_invalid, fmt::format("there are two boards called {}", name));
    }
    boards.push_back({std::string(name), parse_address(trim(entry.substr(equals + 1)))});
  }
  return boards;
}

NamedBoard* BoardPool::find_free(const std::optional<std::string>& name) {
  const auto found = std::ranges::find_if(
      boards_, [&](const NamedBoard& board) { return !board.leased && (!name || board.name == *name); });
  return found == boards_.end() ? nullptr : &*found;
}

Async<BoardPool::Lease> BoardPool::lease(std::optional<std::string> name, Instant deadline) {
  if (NamedBoard* free = find_free(name)) {
    free->leased = true;
    co_return Lease(*this, *free);
  }
  if (waiting_.size() >= queue_) {
    throw Error(ErrorCode::worker_leased, fmt::format("{} sessions wait for a board already", waiting_.size()),
                {{"waiting", waiting_.size()}});
  }
  Waiter waiter{.name = std::move(name)};
  waiting_.push_back(&waiter);
  try {
    while (waiter.board == nullptr && co_await waiter.turn.wait_until(clock_, deadline)) {
    }
  } catch (...) {
    waiting_.remove(&waiter);
    if (waiter.board != nullptr) give_back(*waiter.board);
    throw;
  }
  if (waiter.board != nullptr) co_return Lease(*this, *waiter.board);
  const auto before = std::distance(waiting_.begin(), std::ranges::find(waiting_, &waiter));
  waiting_.remove(&waiter);
  throw Error(ErrorCode::worker_leased,
              fmt::format("no board became free in time; {} other sessions waited before this", before),
              {{"waiting", before}});
}

// Hands the board to the first who waits for it, so that nobody who comes meanwhile is before them.
void BoardPool::give_back(NamedBoard& board) {
  const auto next = std::ranges::find_if(
      waiting_, [&](const Waiter* waiter) { return !waiter->name || *waiter->name == board.name; });
  board.leased = next != waiting_.end();
  if (!board.leased) return;
  Waiter& waiter = **next;
  waiting_.erase(next);
  waiter.board = &board;
  waiter.turn.notify_all();
}

}  // namespace sojourn::device
