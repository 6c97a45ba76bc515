#include "sojourn/flow/record.hpp"

#include <algorithm>
#include <utility>

namespace sojourn::flow {

namespace {

const std::string& text_of(const Text& text) {
  return *text;
}

}  // namespace

CallId Record::begin(std::shared_ptr<const NodeType> node, std::optional<CallId> caller, Text input, Time now) {
  const std::scoped_lock lock(mutex_);
  const auto id = static_cast<CallId>(calls_.size());
  calls_.push_back({.id = id,
                    .caller = caller,
                    .node = std::move(node),
                    .input = std::move(input),
                    .created = {.step = steps_++, .time = now}});
  return id;
}

void Record::end(CallRecord& call, Time now, Nanoseconds duration) {
  call.finished = Stamp{.step = steps_++, .time = now};
  call.duration = duration;
}

void Record::complete(CallId id, Text output, Time now, Nanoseconds duration) {
  const std::scoped_lock lock(mutex_);
  CallRecord& call = calls_.at(id);
  call.output = std::move(output);
  end(call, now, duration);
}

void Record::fail(CallId id, Failure failure, Time now, Nanoseconds duration) {
  auto shared = std::make_shared<const Failure>(std::move(failure));
  const std::scoped_lock lock(mutex_);
  CallRecord& call = calls_.at(id);
  call.failure = std::move(shared);
  end(call, now, duration);
}

void Record::note_model_call(CallId id, ModelCall asked) {
  const std::scoped_lock lock(mutex_);
  CallRecord& call = calls_.at(id);
  if (!call.model_calls.empty()) {
    const std::vector<Text> before = call.question(call.model_calls.size() - 1);
    const auto new_from = std::ranges::mismatch(before, asked.messages, {}, &text_of, &text_of).in2;
    asked.repeated = static_cast<std::size_t>(new_from - asked.messages.begin());
    asked.messages = std::vector<Text>(new_from, asked.messages.end());
  }
  call.model_calls.push_back(std::make_shared<const ModelCall>(std::move(asked)));
}

Graph Record::graph() const {
  const std::scoped_lock lock(mutex_);
  return Graph(std::vector<CallRecord>(calls_.begin(), calls_.end()));
}

Graph Record::graph_at(std::uint32_t step) const {
  std::vector<CallRecord> then;
  const std::scoped_lock lock(mutex_);
  for (const CallRecord& call : calls_) {
    if (call.created.step >= step) break;
    then.push_back(call);
    if (call.finished && call.finished->step >= step) {
      then.back().finished.reset();
      then.back().output.reset();
      then.back().failure.reset();
      then.back().duration = Nanoseconds(0);
    }
  }
  return Graph(std::move(then));
}

Graph Record::beginning(std::size_t calls) const {
  const std::scoped_lock lock(mutex_);
  const auto end = calls_.begin() + static_cast<std::ptrdiff_t>(std::min(calls, calls_.size()));
  return Graph(std::vector<CallRecord>(calls_.begin(), end));
}

std::size_t Record::size() const {
  const std::scoped_lock lock(mutex_);
  return calls_.size();
}

}  // namespace sojourn::flow
