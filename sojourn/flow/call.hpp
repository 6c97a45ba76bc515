#pragma once

#include <exception>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/flow/scope.hpp"

// One call of a node, as Scope and Session make it: checked, recorded, run, and told what came of it.
namespace sojourn::flow {

class RunJournal;

// Who takes the chunks of one call, as long as somebody waits for it. Threads: safe.
class ChunkSink {
 public:
  explicit ChunkSink(OnChunk take) : take_(std::move(take)) {}

  void put(const Json& chunk);  // throws what the taker throws
  void close();                 // the taker is not called any more when it returns

  // Closes it at the end of the call.
  class Use {
   public:
    explicit Use(ChunkSink& sink) : sink_(sink) {}
    ~Use() { sink_.close(); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    ChunkSink& sink_;
  };

 private:
  std::mutex mutex_;
  OnChunk take_;
};

// What is the same for nodes of any types.
class Call {
 public:
  // Errors: cancelled, session_ended, too_large for what is deeper than max_depth. Nothing is recorded then.
  explicit Call(Scope& scope);

  bool is_recorded() const { return recorded_; }
  bool is_kept() const { return journal_ != nullptr; }

  // `make` gives the arguments, and the output, as JSON. Where it throws, that is what is recorded; a call that is
  // kept does not begin then, or fails.
  template <class Make>
  void begin(Make make) {
    try {
      begin_with(json_of(make));
    } catch (...) {
      tell_not_begun(std::current_exception());
      throw;
    }
  }
  template <class Make>
  void complete_as(Make make) {
    kept_ ? complete_with(kept_) : complete(json_of(make));
  }
  void complete(const Json& output);
  void fail(const std::exception_ptr& error) noexcept;

  // What the session's journal has of it, and what it is to have: see RunJournal.
  Async<Text> recall();
  Async<void> keep(Json output);

 private:
  template <class Make>
  Json json_of(const Make& make) const {
    try {
      return make();
    } catch (...) {
      if (is_kept()) throw;
      return not_recorded(std::current_exception());
    }
  }
  static Json not_recorded(const std::exception_ptr& error);
  void begin_with(const Json& arguments);
  void complete_with(Text output);
  void tell_not_begun(const std::exception_ptr& error) const;
  [[noreturn]] void refuse(const Error& error) const;
  std::optional<CallId> caller_id() const;
  Nanoseconds elapsed() const;

  Scope& scope_;
  RunJournal* const journal_;  // null without one
  const bool recorded_;
  Text input_;  // for the journal
  Text kept_;   // the output as the journal has it
  Instant began_;
};

// Runs `node` as part of `run` on `job`.
template <class Result, class... Arguments>
Async<Result> invoke(Run& run, Job& job, Origin origin, Node<Result, Arguments...> node, Arguments... arguments) {
  Scope scope(run, job, std::move(origin), node.type());
  if (job.is_turn_over()) co_await job.yield();
  Call call(scope);
  if (call.is_recorded()) call.begin([&] { return JsonArray{to_json(arguments)...}; });
  try {
    if (call.is_kept()) {
      if (const Text known = co_await call.recall()) {
        const Json output = parse_json(*known);
        call.complete(output);
        if constexpr (std::is_void_v<Result>) {
          co_return;
        } else {
          co_return from_json<Result>(output, "what the journal has of node \"" + node.name() + "\"");
        }
      }
    }
    if constexpr (std::is_void_v<Result>) {
      if (const auto* plain = node.plain()) {
        (*plain)(scope, arguments...);
      } else {
        co_await node.coroutine()(scope, arguments...);
      }
      if (call.is_kept()) co_await call.keep(nullptr);
      if (call.is_recorded()) call.complete(nullptr);
    } else if (const auto* plain = node.plain()) {
      Result result = (*plain)(scope, arguments...);
      if (call.is_kept()) co_await call.keep(to_json(result));
      if (call.is_recorded()) call.complete_as([&] { return to_json(result); });
      co_return result;
    } else {
      Result result = co_await node.coroutine()(scope, arguments...);
      if (call.is_kept()) co_await call.keep(to_json(result));
      if (call.is_recorded()) call.complete_as([&] { return to_json(result); });
      co_return result;
    }
  } catch (...) {
    call.fail(std::current_exception());
    throw;
  }
}

// What is there of a call that never began.
std::exception_ptr not_begun();

template <class Result, class... Arguments>
Async<Result> Scope::call(Node<Result, Arguments...> node, std::type_identity_t<Arguments>... arguments) {
  return invoke<Result, Arguments...>(run_, job_, {this, places_++}, std::move(node), std::move(arguments)...);
}

namespace detail {

template <class Result, class... Arguments>
Async<Result> call_streamed(Run& run, Job& job, Origin origin, Node<Result, Arguments...> node,
                            Arguments... arguments) {
  const ChunkSink::Use use(*origin.chunks);
  co_return co_await invoke<Result, Arguments...>(run, job, origin, std::move(node), std::move(arguments)...);
}

// One call of a batch. Whether it went well.
template <class Result, class... Arguments>
Async<bool> call_into(Outcome<Result>& outcome, Run& run, Job& job, const Scope& caller, std::uint64_t place,
                      Node<Result, Arguments...> node, Arguments... arguments) {
  try {
    if constexpr (std::is_void_v<Result>) {
      co_await invoke<Result, Arguments...>(run, job, {&caller, place}, std::move(node), std::move(arguments)...);
      outcome = Outcome<Result>();
    } else {
      outcome =
          co_await invoke<Result, Arguments...>(run, job, {&caller, place}, std::move(node), std::move(arguments)...);
    }
  } catch (...) {
    outcome = std::unexpected(std::current_exception());
  }
  co_return outcome.has_value();
}

}  // namespace detail

template <class Result, class... Arguments>
Async<Result> Scope::call(CallOptions options, Node<Result, Arguments...> node,
                          std::type_identity_t<Arguments>... arguments) {
  if (!options.on_chunk) return call<Result, Arguments...>(std::move(node), std::move(arguments)...);
  auto chunks = std::make_shared<ChunkSink>(std::move(options.on_chunk));
  return detail::call_streamed<Result, Arguments...>(run_, job_, {this, places_++, std::move(chunks)},
                                                     std::move(node), std::move(arguments)...);
}

template <class Result, class... Arguments>
Async<std::optional<std::size_t>> Scope::run_batch(std::vector<Outcome<Result>>& outcomes, bool stop_at_error,
                                                   BatchOptions options, Node<Result, Arguments...> node,
                                                   std::vector<Arguments>&... columns) {
  static_assert(sizeof...(Arguments) > 0, "a batch needs a column of arguments");
  outcomes.assign(std::min({columns.size()...}), std::unexpected(not_begun()));
  const std::size_t width = width_of(options, node.plain() != nullptr);
  const std::uint64_t first = std::exchange(places_, places_ + outcomes.size());
  co_return co_await fan_out(
      job_.shared_from_this(), strategy(),
      {.count = outcomes.size(), .width = width, .stop_at_failure = stop_at_error}, [&](Job& job, std::size_t index) {
        return detail::call_into<Result, Arguments...>(outcomes[index], run_, job, *this, first + index, node,
                                                       std::move(columns[index])...);
      });
}

template <class Result, class... Arguments>
Async<std::vector<Outcome<Result>>> Scope::call_batch(BatchOptions options, Node<Result, Arguments...> node,
                                                      std::vector<std::type_identity_t<Arguments>>... columns) {
  std::vector<Outcome<Result>> outcomes;
  co_await run_batch(outcomes, false, options, std::move(node), columns...);
  co_return outcomes;
}

template <class Result, class... Arguments>
Async<std::vector<Result>> Scope::call_all(BatchOptions options, Node<Result, Arguments...> node,
                                           std::vector<std::type_identity_t<Arguments>>... columns) {
  static_assert(!std::is_void_v<Result>, "a node without a result has none to collect: use call_batch");
  std::vector<Outcome<Result>> outcomes;
  const auto failed = co_await run_batch(outcomes, true, options, std::move(node), columns...);
  if (failed) std::rethrow_exception(outcomes[*failed].error());
  std::vector<Result> results;
  results.reserve(outcomes.size());
  for (auto& outcome : outcomes) results.push_back(std::move(*outcome));
  co_return results;
}

}  // namespace sojourn::flow
