#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "sojourn/flow/graph.hpp"

// What a flow session tells its subscribers.
namespace sojourn::flow {

struct RequestCreation {
  CallId call;
  std::optional<CallId> caller;
  std::shared_ptr<const NodeType> node;
  std::shared_ptr<const NodeType> caller_node;  // null for a call from outside
  Text input;
};

struct RequestSuccess {
  CallId call;
  std::optional<CallId> caller;
  std::shared_ptr<const NodeType> node;
  Text output;
  Nanoseconds duration;
};

struct RequestFailure {
  CallId call;
  std::optional<CallId> caller;
  std::shared_ptr<const NodeType> node;
  Failure failure;
  Nanoseconds duration;
};

// A call that did not begin: its run was stopped, or it was too deep.
struct RequestCreationFailure {
  std::optional<CallId> caller;
  std::shared_ptr<const NodeType> node;
  Failure failure;
};

// An error that ended a run.
struct FatalFailure {
  std::optional<CallId> call;
  std::string message;
};

// What a node told whoever listens.
struct BroadcastEvent {
  std::optional<CallId> call;  // nothing if it came from outside of all nodes, or calls are not recorded
  Json item;
};

using MessageBody = std::variant<RequestCreation, RequestSuccess, RequestFailure, RequestCreationFailure,
                                 FatalFailure, BroadcastEvent>;

struct Message {
  std::uint64_t offset = 0;  // in its session: 0, 1, 2 and so on
  Time time;
  MessageBody body;
};

// One line for people: "report CREATED count", "count DONE with 42", "count FAILED: why". What is long is cut.
std::string to_string(const Message& message);

}  // namespace sojourn::flow
