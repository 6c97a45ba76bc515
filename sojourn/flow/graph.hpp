#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/flow/node.hpp"

// The graph of a session's calls, as values that do not change: who called whom with what, when, and what came of it.
//
// A call is a node of the graph together with the request that leads to it, for each call makes one of both. The
// calls made from outside are the roots of a forest. Everything that happens takes the session's next step, so that
// the graph as it was at any step can be had again.
namespace sojourn::flow {

using Nanoseconds = std::chrono::nanoseconds;
using CallId = std::uint32_t;                     // in its session, in the order of creation
using Text = std::shared_ptr<const std::string>;  // JSON, shared by the record and the messages

enum class CallStatus { open, completed, failed };

// "Open", "Completed", "Failed": the words of the saved state.
std::string_view to_string(CallStatus status);

struct Stamp {
  std::uint32_t step = 0;  // in its session, from 0
  Time time;

  auto operator<=>(const Stamp&) const = default;
};

struct Failure {
  std::string type;  // of the exception, as C++ names it
  std::string message;
};

// What there is to say of an exception.
Failure failure_of(const std::exception_ptr& error);

// A question to a model, and what came of it. Each question of a conversation repeats the one before; its messages
// are kept once.
struct ModelCall {
  std::size_t repeated = 0;    // how many messages of the node's question before this one begins with
  std::vector<Text> messages;  // those that follow them
  Text answer;                 // a message; "null" where there was none
  std::string head, tail;      // the members of its llm_details before "input" and after "output"
};

// It as an Error, for who is in another process: of any other exception an app_error. Of what is no plain Error, the
// details name the type ("type"), from which failure_of() has it.
Error error_of(const std::exception_ptr& error);

struct CallRecord {
  CallId id = 0;
  std::optional<CallId> caller;  // nothing for a call from outside
  std::shared_ptr<const NodeType> node;
  Text input;  // array of the arguments
  Stamp created;

  std::optional<Stamp> finished = std::nullopt;
  Text output = nullptr;                             // of a completed call; "null" where the node returns nothing
  std::shared_ptr<const Failure> failure = nullptr;  // of a failed one
  Nanoseconds duration{0};                           // of one that is over
  std::vector<std::shared_ptr<const ModelCall>> model_calls = {};  // what it asked models; shared by the graphs

  CallStatus status() const {
    return failure ? CallStatus::failed : finished ? CallStatus::completed : CallStatus::open;
  }

  // All messages of its question number `index`, from 0.
  std::vector<Text> question(std::size_t index) const;
};

class Graph {
 public:
  explicit Graph(std::vector<CallRecord> calls);

  std::span<const CallRecord> calls() const { return calls_; }  // in the order of creation
  bool empty() const { return calls_.empty(); }

  // Errors: not_found, also for the queries below.
  const CallRecord& call(CallId id) const;

  std::vector<CallId> roots() const;                  // the calls from outside
  std::span<const CallId> children(CallId id) const;  // the calls that it made
  std::vector<CallId> downstream(CallId id) const;    // these, theirs, and so on; callers first
  std::vector<CallId> upstream(CallId id) const;      // its caller, the caller's caller, and so on
  bool are_children_complete(CallId id) const;        // none of them is open
  std::vector<CallId> open_tails() const;             // open calls that wait for no other

  // The output of the one call from outside that is completed, an array of them if there are several, else nothing.
  std::optional<Json> answer() const;

  // Every stamp of every call, in order.
  std::vector<Stamp> stamps() const;

  // The part below these calls from outside.
  Graph only(std::span<const CallId> roots) const;

 private:
  std::size_t index_of(CallId id) const;

  std::vector<CallRecord> calls_;
  std::vector<CallId> children_;            // grouped by caller
  std::vector<std::uint32_t> first_child_;  // for each call, and one past the last: where its group begins
};

}  // namespace sojourn::flow
