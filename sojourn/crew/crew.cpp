#include "sojourn/crew/crew.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/crew/call_elsewhere.hpp"
#include "sojourn/crew/places.hpp"
#include "sojourn/crew/process_words.hpp"
#include "sojourn/worker/process_app.hpp"

namespace sojourn::crew {

namespace asio = boost::asio;

namespace {

constexpr auto start_time = Seconds(60);  // of a process, on a machine that is short of everything
constexpr auto close_time = Seconds(5);

worker::Manifest manifest(const worker::ProcessLimits& limits) {
  worker::Manifest made{.command = process_command(), .env = process_environment(), .limits = limits};
  made.info.name = "isolated";
  made.folder = "/";
  return made;
}

// What `failed` is of the call whose process it says something of.
Error naming(const flow::IsolatedCall& call, const Error& failed) {
  constexpr std::string_view subject = "the worker ";
  std::string what = failed.message();
  if (what.starts_with(subject)) what = "its process " + what.substr(subject.size());
  JsonObject details = failed.details();
  details["node"] = call.node;
  details["path"] = call.path;
  return Error(failed.code(), fmt::format("node \"{}\" ({}): {}", call.node, call.path, what), std::move(details));
}

bool says_that_it_is_lost(const Error& error) {
  return error.code() == ErrorCode::worker_lost || error.code() == ErrorCode::protocol_error;
}

}  // namespace

class Crew::State {
 public:
  explicit State(const Options& options)
      : options_(options),
        places_(options.processes > 0 ? options.processes : std::max(1U, std::thread::hardware_concurrency())) {}

  ~State() {
    if (!thread_.joinable()) return;
    asio::post(loop_.executor(), [this] {
      closing_ = true;
      changed_.notify_all();
    });
    thread_.join();
  }

  Executor executor() {
    std::call_once(started_, [this] { start(); });
    return loop_.executor();
  }

  Async<Json> call(flow::IsolatedCall call) {
    const Counted counted(*this);
    co_await places_.wait();
    const Places::Place place(places_);
    // A process may die between two calls, all of them with their supervisor.
    for (std::size_t deaths = 0;; ++deaths) {
      const InUse used(*this, co_await take(call));
      auto came = co_await call_in(*used.member, clock_, options_.patience, call);
      if (!came.failure) co_return std::move(came.output);
      if (came.is_stopped || !session::is_unreached(*came.failure) || deaths >= most_deaths)
        throw says_that_it_is_lost(*came.failure) ? naming(call, *came.failure) : *came.failure;
    }
  }

 private:
  static constexpr std::size_t most_deaths = 64;

  // A process that is lost while nobody uses it is not to be used any more.
  class Member final : public CrewProcess {
   public:
    explicit Member(State& state) : state_(state) {}
    void lost(Error) override {
      is_usable = false;
      state_.drop_idle(this);
    }

   private:
    State& state_;
  };

  struct Counted {
    explicit Counted(State& in) : state(in) { ++state.calls_; }
    ~Counted() {
      --state.calls_;
      state.changed_.notify_all();
    }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    State& state;
  };

  // Gives the process back when it goes: also where the call is cancelled before it begins.
  struct InUse {
    InUse(State& in, std::shared_ptr<Member> taken) : state(in), member(std::move(taken)) {
      state.members_.insert(member);
      if (state.closing_) state.end(*member);  // it was opened meanwhile
    }
    ~InUse() {
      state.members_.erase(member);
      state.give_back(member);
    }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;
    State& state;
    const std::shared_ptr<Member> member;
  };

  void start() {
    group_.emplace(loop_.executor());
    isolation_.emplace();
    supervisor_.emplace(loop_.executor(), clock_, log_,
                        worker::Supervisor::Options{.arguments = supervisor_arguments()});
    app_.emplace(manifest(options_.limits), *supervisor_, *isolation_, clock_, log_);
    thread_ = std::thread([this] { loop_.run(serve()); });
  }

  Async<void> serve() {
    while (!closing_) co_await changed_.wait();
    for (const auto& member : members_) end(*member);
    while (calls_ > 0) co_await changed_.wait();
    while (!idle_.empty()) drop_idle(idle_.back().get());
    co_await group_->join();
    co_await app_->close();
    co_await supervisor_->close();
  }

  static void end(Member& member) {
    member.worker->kill(Error(ErrorCode::worker_lost, "the worker was ended with the crew that it belongs to"));
  }

  // A process that waits for a call, or a new one.
  Async<std::shared_ptr<Member>> take(const flow::IsolatedCall& call) {
    if (closing_) throw Error(ErrorCode::worker_lost, fmt::format("node \"{}\": its crew was closed", call.node));
    if (!idle_.empty()) {
      std::shared_ptr<Member> member = std::move(idle_.back());
      idle_.pop_back();
      co_return member;
    }
    auto member = std::make_shared<Member>(*this);
    std::optional<Error> failed;
    try {
      supervisor_->start();
      member->worker = co_await app_->open({.session_id = "isolated", .events = member.get()},
                                           std::min(call.deadline, clock_.instant() + start_time));
    } catch (const Error& error) {
      failed = error;
    }
    if (failed) throw naming(call, *failed);
    co_return member;
  }

  void give_back(std::shared_ptr<Member> member) {
    if (member->is_usable && !closing_) {
      idle_.push_back(std::move(member));
    } else {
      group_->spawn(bury(std::move(member)));
    }
  }

  void drop_idle(const Member* member) {
    const auto found = std::ranges::find(idle_, member, &std::shared_ptr<Member>::get);
    if (found == idle_.end()) return;
    group_->spawn(bury(std::move(*found)));
    idle_.erase(found);
  }

  Async<void> bury(std::shared_ptr<Member> member) {
    try {
      co_await member->worker->close(session::CloseReason::ended, clock_.instant() + close_time);
    } catch (const Error&) {
      // It was lost, which its call was told.
    }
  }

  const Options options_;
  SystemClock clock_;
  const Log log_{LogLevel::warning};
  Loop loop_;
  std::once_flag started_;
  std::thread thread_;

  // All below on the loop, but for start().
  std::optional<TaskGroup> group_;
  std::optional<worker::Isolation> isolation_;
  std::optional<worker::Supervisor> supervisor_;
  std::optional<worker::ProcessApp> app_;
  Places places_;
  std::vector<std::shared_ptr<Member>> idle_;  // shared with nobody: they are moved from here to who uses them
  std::set<std::shared_ptr<Member>> members_;  // in use; shared with their calls
  std::size_t calls_ = 0;
  bool closing_ = false;
  Event changed_;
};

Crew::Crew(const Program&, Options options) : state_(std::make_unique<State>(options)) {}

Crew::~Crew() = default;

Executor Crew::executor() {
  return state_->executor();
}

Async<Json> Crew::call(flow::IsolatedCall call) {
  return state_->call(std::move(call));
}

}  // namespace sojourn::crew
