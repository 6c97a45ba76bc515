#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/device/board_threads.hpp"

namespace sojourn::device {

struct DeployedMethodInfo {
  std::string signature;  // the function's name
  Hash code_hash{};       // SHA-256 of its source
  Time deployed_at{};
  std::string session_id;
};

// What a session has on its board to be executed: the functions that it deployed, and its threads (seed 002).
// Threads:  as Board.
// Lifetime: its board, its clock and the text of its session's id outlive it.
class ExecutorContext {
 public:
  ExecutorContext(std::string_view session_id, Board& board, Clock& clock)
      : session_id_(session_id), board_(board), clock_(clock), threads_(board, clock, session_id_) {}

  std::string_view session_id() const { return session_id_; }

  // Whether the session deployed this very code, and the board has it in its present memory.
  bool is_method_deployed(std::string_view signature, const Hash& code_hash) const;
  std::vector<DeployedMethodInfo> deployed_methods() const;  // by signature
  std::size_t method_count() const { return methods_.size(); }

  std::vector<BackgroundThreadInfo> threads() const { return threads_.list(); }  // oldest first
  std::string allocate_thread_id(std::string_view method) { return threads_.allocate_id(method); }
  BoardThreads& board_threads() { return threads_; }
  const BoardThreads& board_threads() const { return threads_; }

  // Deploys a function that the session forgets when it ends. Errors: those of Board::deploy.
  Async<void> deploy(Function function, Instant deadline);

  // Takes what was deployed off the board, each until its own deadline, and adds what failed.
  Async<void> forget(Milliseconds timeout, JsonArray& failures);

  // Forgets all, without a word to the board; returns the names of the methods.
  std::vector<std::string> abandon();

 private:
  struct Method {
    Hash hash{};
    Time deployed_at{};
  };

  std::string_view session_id_;
  Board& board_;
  Clock& clock_;
  std::map<std::string, Method, std::less<>> methods_;
  BoardThreads threads_;
};

}  // namespace sojourn::device
