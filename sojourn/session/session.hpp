#pragma once

#include <string>
#include <string_view>

#include "sojourn/session/state.hpp"

// A session in memory: an identity, an immutable context, and state. It needs no server, store or manager (seed 000).
namespace sojourn::session {

class Session {
 public:
  // Shape:  `id` is 1 to limits::session_id_bytes printable characters; `context` at most limits::context_bytes.
  // Errors: invalid_request for the id; not_serializable or too_large for the context.
  explicit Session(std::string id, JsonObject context = {});
  Session(std::string id, JsonObject context, State state);

  const std::string& id() const { return id_; }
  const JsonObject& context() const { return context_; }  // deeply immutable: a copy of what was given

  std::optional<Json> get(std::string_view key) const { return state_.get(key); }
  Json get(std::string_view key, Json fallback) const { return state_.get(key, std::move(fallback)); }
  void set(std::string_view key, const Json& value) { state_.set(key, value); }
  bool remove(std::string_view key) { return state_.remove(key); }  // seed 000's delete, a keyword here
  bool exists(std::string_view key) const { return state_.exists(key); }

  State& state() { return state_; }
  const State& state() const { return state_; }

 private:
  std::string id_;
  JsonObject context_;
  State state_;
};

}  // namespace sojourn::session
