#include "sojourn/flow/graph.hpp"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <typeinfo>
#include <utility>

namespace sojourn::flow {

namespace {

std::string readable(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 ? name.get() : type.name();
}

}  // namespace

std::string_view to_string(CallStatus status) {
  switch (status) {
    case CallStatus::open:
      return "Open";
    case CallStatus::completed:
      return "Completed";
    case CallStatus::failed:
      return "Failed";
  }
  std::unreachable();
}

Failure failure_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    // One that came from another process, or out of a journal, says what it was there.
    const Json* type = typeid(known) == typeid(Error) ? known.details().if_contains("type") : nullptr;
    const bool is_told = type != nullptr && type->is_string();
    return {.type = is_told ? std::string(type->get_string()) : readable(typeid(known)),
            .message = to_valid_utf8(known.message())};
  } catch (const std::exception& known) {
    // What a node threw is the program's own text, of any bytes.
    return {.type = readable(typeid(known)), .message = to_valid_utf8(known.what())};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return {.type = type == nullptr ? "unknown" : readable(*type), .message = "an exception without a message"};
  }
}

std::vector<Text> CallRecord::question(std::size_t index) const {
  std::vector<Text> messages;
  for (std::size_t i = 0; i <= index; ++i) {
    messages.resize(model_calls.at(i)->repeated);
    messages.insert(messages.end(), model_calls[i]->messages.begin(), model_calls[i]->messages.end());
  }
  return messages;
}

Error error_of(const std::exception_ptr& error) {
  const Failure failure = failure_of(error);
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    if (typeid(known) == typeid(Error)) return known;
    JsonObject details = known.details();
    details["type"] = failure.type;
    return Error(known.code(), known.message(), std::move(details)).set_retryable(known.retryable());
  } catch (...) {
    return Error(ErrorCode::app_error, failure.message, {{"type", failure.type}});
  }
}

Graph::Graph(std::vector<CallRecord> calls) : calls_(std::move(calls)) {
  // Counted, summed up and filled in: the children of call i are children_[first_child_[i] .. first_child_[i + 1]).
  first_child_.assign(calls_.size() + 1, 0);
  for (const CallRecord& call : calls_) {
    if (call.caller) ++first_child_[index_of(*call.caller) + 1];
  }
  for (std::size_t i = 1; i < first_child_.size(); ++i) first_child_[i] += first_child_[i - 1];
  children_.resize(first_child_.back());
  std::vector<std::uint32_t> next(first_child_.begin(), first_child_.end());
  for (const CallRecord& call : calls_) {
    if (call.caller) children_[next[index_of(*call.caller)]++] = call.id;
  }
}

std::size_t Graph::index_of(CallId id) const {
  const auto found = std::ranges::lower_bound(calls_, id, {}, &CallRecord::id);
  if (found == calls_.end() || found->id != id) {
    throw Error(ErrorCode::not_found, fmt::format("the graph has no call {}", id));
  }
  return static_cast<std::size_t>(found - calls_.begin());
}

const CallRecord& Graph::call(CallId id) const {
  return calls_[index_of(id)];
}

std::vector<CallId> Graph::roots() const {
  std::vector<CallId> roots;
  for (const CallRecord& call : calls_) {
    if (!call.caller) roots.push_back(call.id);
  }
  return roots;
}

std::span<const CallId> Graph::children(CallId id) const {
  const std::size_t index = index_of(id);
  return std::span(children_).subspan(first_child_[index], first_child_[index + 1] - first_child_[index]);
}

std::vector<CallId> Graph::downstream(CallId id) const {
  std::vector<CallId> below(children(id).begin(), children(id).end());
  for (std::size_t i = 0; i < below.size(); ++i) {
    const auto next = children(below[i]);
    below.insert(below.end(), next.begin(), next.end());
  }
  return below;
}

std::vector<CallId> Graph::upstream(CallId id) const {
  std::vector<CallId> above;
  for (auto caller = call(id).caller; caller; caller = call(*caller).caller) above.push_back(*caller);
  return above;
}

bool Graph::are_children_complete(CallId id) const {
  return std::ranges::none_of(children(id), [&](CallId child) { return call(child).status() == CallStatus::open; });
}

std::vector<CallId> Graph::open_tails() const {
  std::vector<CallId> tails;
  for (const CallRecord& call : calls_) {
    if (call.status() == CallStatus::open && are_children_complete(call.id)) tails.push_back(call.id);
  }
  return tails;
}

std::optional<Json> Graph::answer() const {
  JsonArray outputs;
  for (const CallId root : roots()) {
    if (call(root).status() == CallStatus::completed) outputs.push_back(parse_json(*call(root).output));
  }
  if (outputs.empty()) return std::nullopt;
  if (outputs.size() == 1) return std::move(outputs.front());
  return Json(std::move(outputs));
}

std::vector<Stamp> Graph::stamps() const {
  std::vector<Stamp> stamps;
  for (const CallRecord& call : calls_) {
    stamps.push_back(call.created);
    if (call.finished) stamps.push_back(*call.finished);
  }
  std::ranges::sort(stamps, {}, &Stamp::step);
  return stamps;
}

Graph Graph::only(std::span<const CallId> roots) const {
  std::vector<CallRecord> part;
  for (const CallId root : roots) {
    part.push_back(call(root));
    for (const CallId below : downstream(root)) part.push_back(call(below));
  }
  std::ranges::sort(part, {}, &CallRecord::id);
  return Graph(std::move(part));
}

}  // namespace sojourn::flow
