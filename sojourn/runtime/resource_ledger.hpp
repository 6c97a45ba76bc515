#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sojourn/session/kept_session.hpp"

// The resources that a session's worker said it holds, and what of that is not yet in the store.
namespace sojourn::runtime {

class ResourceLedger {
 public:
  ResourceLedger() = default;
  explicit ResourceLedger(std::vector<store::ResourceRecord> stored) : open_(std::move(stored)) {}

  void add(store::ResourceRecord resource);
  bool release(std::string_view id);  // whether it was open

  // Puts what the store does not know yet into `step`.
  void move_into(session::Step& step);

  // What a step took along did not become durable, so it waits for the next.
  void take_back(std::vector<store::ResourceRecord> added, const std::vector<std::string>& released);

  // Whether the store does not know all yet.
  bool has_news() const { return !added_.empty() || !released_.empty(); }

  // All that is open, newest first; to the ledger they are released now.
  std::vector<store::ResourceRecord> take_open();
  std::size_t open() const { return open_.size(); }

 private:
  std::vector<store::ResourceRecord> open_;  // oldest first
  std::vector<store::ResourceRecord> added_;
  std::vector<std::string> released_;
};

}  // namespace sojourn::runtime
