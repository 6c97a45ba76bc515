#include "sojourn/device/executor_context.hpp"

#include "sojourn/device/session_errors.hpp"

namespace sojourn::device {

bool ExecutorContext::is_method_deployed(std::string_view signature, const Hash& code_hash) const {
  const auto found = methods_.find(signature);
  return found != methods_.end() && found->second.hash == code_hash && board_.is_deployed(signature, code_hash);
}

std::vector<DeployedMethodInfo> ExecutorContext::deployed_methods() const {
  std::vector<DeployedMethodInfo> all;
  for (const auto& [name, method] : methods_) {
    all.push_back({name, method.hash, method.deployed_at, std::string(session_id_)});
  }
  return all;
}

Async<void> ExecutorContext::deploy(Function function, Instant deadline) {
  const bool was_there = board_.is_deployed(function);
  co_await board_.deploy(function, deadline);
  const auto [method, is_new] = methods_.try_emplace(function.name);
  if (!was_there || is_new) method->second = {sha256(function.source), clock_.now()};
}

Async<void> ExecutorContext::forget(Milliseconds timeout, JsonArray& failures) {
  const auto forget_one = [&](std::string name) {
    return board_.remove(std::move(name), clock_.instant() + timeout);
  };
  while (!methods_.empty()) {
    const std::string name = methods_.rbegin()->first;
    methods_.erase(name);
    try {
      co_await forget_one(name);
    } catch (const Error& error) {
      if (!has_not_begun(error)) add_failure(failures, name, "method", error);
    }
  }
  try {
    co_await threads_.remove(clock_.instant() + timeout);
  } catch (const Error& error) {
    if (!has_not_begun(error)) add_failure(failures, "threads", "method", error);
  }
}

std::vector<std::string> ExecutorContext::abandon() {
  std::vector<std::string> left;
  for (const auto& [name, method] : methods_) left.push_back(name);
  methods_.clear();
  threads_.forget();
  return left;
}

}  // namespace sojourn::device
