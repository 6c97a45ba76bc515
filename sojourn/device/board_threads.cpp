#include "sojourn/device/board_threads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "sojourn/base/event.hpp"

namespace sojourn::device {

namespace {

constexpr std::size_t printed_bytes = 4096;
constexpr Milliseconds first_wait(2);  // between questions whether a thread has ended
constexpr Milliseconds longest_wait(100);
constexpr Milliseconds longest_hold(86'400'000);  // well within what ticks can tell
constexpr Milliseconds longest_time = std::chrono::days(3650);

// The class of the threads there. Their prints are told from others' by who runs, so `print` is exchanged while there
// are threads. What others print goes out at once, and the guard's answer with a mark behind it, so that what a
// thread writes by other ways neither comes within it nor counts as part of it. Ticks wrap around, so times are sums
// of differences, and a hold that is over is forgotten before it is ahead again. What threads share is under a lock,
// for not every port has an interpreter lock. A thread that cannot be told of, for the heap is full, still ends.
const Function support{"_sj_threads",
                       R"(def _sj_threads():
 import _thread,time,sys
 lock=_thread.allocate_lock()
 own={}
 say=print
 had='print' in globals()
 def hear(*a,**k):
  with lock:t=own.get(_thread.get_ident())
  if 'file' in k:return say(*a,**k)
  x=k.get('sep',' ').join([str(i) for i in a])+k.get('end','\n')
  if t is None:
   if x[:1]=='\6'and x[2:]and x[-1]=='\n':x=x[:-1]+'\6\n'
   return say(x,end='')
  with lock:t.o=(t.o+x)[-1024:]
 def told(e):
  try:
   import io
   f=io.StringIO()
   sys.print_exception(e,f)
   return f.getvalue()
  except Exception:pass
  try:return type(e).__name__+': '+str(e)
  except Exception:return type(e).__name__
 class T:
  all={}
  held=None
  def __init__(s,f,a,p,m,w):
   s.f=f;s.a=a;s.p=p;s.m=m;s.w=w
   s.go=s.on=True
   s.h=False
   s.e=s.o=''
   s.n=s.k=s.c=s.x=0
   s.t=time.ticks_ms()
  def beat(s):
   while 1:
    t=time.ticks_ms()
    s.x+=time.ticks_diff(t,s.t)
    s.t=t
    if s.m and s.x>=s.m:s.go=False
    h=T.held
    s.h=s.go and h is not None and time.ticks_diff(h,t)>0
    if not s.h:
     if h is not None and s.go:T.held=None
     break
    time.sleep_ms(2)
   s.n+=1
   return s.go
  def nap(s,d):
   s.beat()
   e=s.x+d
   while s.beat() and s.x<e:time.sleep_ms(min(e-s.x,50))
  def run(s):
   i=_thread.get_ident()
   try:
    with lock:own[i]=s
    s.main()
   except BaseException as e:
    s.e=type(e).__name__
    s.c+=1
   with lock:own.pop(i,None)
   s.on=False
  def main(s):
   w=s.w
   while 1:
    try:
     if s.p:
      while s.beat():
       s.f(*s.a)
       s.nap(s.p)
     else:s.f(s.beat,*s.a)
     break
    except SystemExit:break
    except BaseException as e:
     s.e=told(e)
     s.c+=1
    if not s.w:break
    s.nap(w)
    if not s.go:break
    w=min(w*2,60000)
    s.k+=1
  def tell(s,i):
   with lock:o,s.o=s.o,''
   return (i,s.on,s.n,time.ticks_diff(time.ticks_ms(),s.t),s.k,s.c,s.e,o)
  def state():return [s.tell(i) for i,s in T.all.items()]
  def start(i,f,a,p,m,w):
   globals()['print']=hear
   s=T.all[i]=T(f,a,p,m,w)
   try:_thread.start_new_thread(s.run,())
   except:
    T.drop(i)
    raise
  def stop(i):
   s=T.all.get(i)
   if s is None:return None
   s.go=False
   r=s.tell(i)
   if not r[1]:T.drop(i)
   return r
  def drop(i):
   T.all.pop(i)
   if T.all:return
   if had:globals()['print']=say
   else:globals().pop('print',None)
  def hold(d):
   T.held=time.ticks_add(time.ticks_ms(),d)if d else None
   return [i for i,s in T.all.items() if s.on and not s.h]
 return T
_sj_threads=_sj_threads()
)",
                       {"board_threads.cpp", 1},
                       Calls::rarely};

constexpr std::string_view outermost = "main";  // of the support's functions: the frame that called the thread's

std::string quoted(std::string_view text) {
  return to_python(Value{std::string(text)});
}

const std::string& text_of(const Value& value) {
  static const std::string none;
  const auto* text = std::get_if<std::string>(&value.is);
  return text == nullptr ? none : *text;
}

std::int64_t number_of(const Value& value) {
  const auto* number = std::get_if<std::int64_t>(&value.is);
  return number == nullptr ? 0 : *number;
}

Error misunderstood() {
  return Error(ErrorCode::protocol_error, "the board's answer about its threads makes no sense");
}

void require_times(const ThreadOptions& options) {
  const auto fits = [](Milliseconds time, int least) { return time.count() >= least && time <= longest_time; };
  if (!fits(options.period.value_or(Milliseconds(1)), 1) || !fits(options.max_runtime, 0) ||
      !fits(options.restart_after, 0) || !fits(options.heartbeat_timeout, 1) || !fits(options.stop_timeout, 0)) {
    throw Error(
        ErrorCode::invalid_request,
        "a thread's period and heartbeat_timeout must be over 0 ms, its other times not below, and none may be "
        "over ten years");
  }
}

bool lacks_module(const Error& error) {
  const Json* type = error.details().if_contains("type");
  return error.code() == ErrorCode::app_error && type != nullptr && *type == Json("ImportError");
}

}  // namespace

// What a board says of a thread.
struct BoardThreads::Report {
  std::string id;
  bool runs = false;
  std::uint64_t beats = 0;
  Milliseconds silence{};
  std::uint64_t restarts = 0;
  std::uint64_t failures = 0;
  std::string traceback;  // of the last
  std::string printed;

  static Report of(const Value& value) {
    const auto* tuple = std::get_if<Tuple>(&value.is);
    if (tuple == nullptr || tuple->items.size() != 8) throw misunderstood();
    const std::vector<Value>& items = tuple->items;
    return {.id = text_of(items[0]),
            .runs = items[1] == Value{true},
            .beats = static_cast<std::uint64_t>(number_of(items[2])),
            .silence = Milliseconds(number_of(items[3])),
            .restarts = static_cast<std::uint64_t>(number_of(items[4])),
            .failures = static_cast<std::uint64_t>(number_of(items[5])),
            .traceback = text_of(items[6]),
            .printed = text_of(items[7])};
  }
};

std::string_view to_string(ThreadState state) {
  switch (state) {
    case ThreadState::running:
      return "running";
    case ThreadState::silent:
      return "silent";
    case ThreadState::ended:
      return "ended";
    case ThreadState::failed:
      return "failed";
    case ThreadState::lost:
      break;
  }
  return "lost";
}

JsonObject to_json(const BackgroundThreadInfo& thread) {
  JsonObject json{{"id", thread.thread_id},
                  {"name", thread.method_name},
                  {"started_at", format_time(thread.registered_at)},
                  {"state", to_string(thread.state)},
                  {"beats", thread.beats},
                  {"restarts", thread.restarts},
                  {"printed", to_valid_utf8(thread.printed)}};
  if (thread.error) json["error"] = thread.error->message();
  return json;
}

std::string BoardThreads::allocate_id(std::string_view method) {
  return fmt::format("{}-{}", to_valid_utf8(method), ++allocated_);
}

// The list may have been forgotten while the board was asked.
BoardThreads::Thread& BoardThreads::require(std::string_view id) {
  Thread* const found = find(id);
  if (found == nullptr) throw Error(ErrorCode::not_found, fmt::format("there is no thread {}", to_valid_utf8(id)));
  return *found;
}

BoardThreads::Thread* BoardThreads::find(std::string_view id) {
  const auto found = std::ranges::find_if(threads_, [&](const Thread& each) { return each.info.thread_id == id; });
  return found == threads_.end() ? nullptr : &*found;
}

const ThreadOptions* BoardThreads::options_of(std::string_view id) const {
  const auto found = std::ranges::find_if(threads_, [&](const Thread& each) { return each.info.thread_id == id; });
  return found == threads_.end() ? nullptr : &found->options;
}

std::vector<BackgroundThreadInfo> BoardThreads::list() const {
  std::vector<BackgroundThreadInfo> all;
  for (const Thread& thread : threads_) all.push_back(thread.info);
  return all;
}

std::size_t BoardThreads::active() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(threads_, [](const Thread& thread) { return thread.info.is_active(); }));
}

bool BoardThreads::any_there() const {
  return std::ranges::any_of(threads_, [&](const Thread& thread) { return is_there(thread); });
}

// Sees to it that the support is on the board. That _thread is there is asked first, for boards without it are those
// on which so much code may not fit.
Async<void> BoardThreads::bring(Instant deadline) {
  if (board_.is_deployed(support)) co_return;
  bool lacking = false;
  try {
    co_await board_.eval("__import__('_thread')is 0", deadline);
  } catch (const Error& error) {
    if (!lacks_module(error)) throw;
    lacking = true;
  }
  if (!lacking) {
    co_await board_.deploy(support, deadline);
    co_return;
  }
  const Capabilities is = co_await board_.capabilities(deadline);
  throw Error(
      ErrorCode::app_error,
      fmt::format("the board {} ({} {}) has no module _thread: no thread can run on it", to_valid_utf8(is.platform),
                  to_valid_utf8(is.implementation), to_valid_utf8(is.version)),
      {{"type", "ImportError"},
       {"class", "import"},
       {"module", "_thread"},
       {"board", to_valid_utf8(is.platform)},
       {"advice", "Use a board whose firmware has threads, or call the function again and again from here."}});
}

Async<void> BoardThreads::start(std::string id, Function function, std::vector<Value> arguments,
                                ThreadOptions options, Instant deadline) {
  require_times(options);
  if (has(id)) throw Error(ErrorCode::already_exists, fmt::format("there is a thread {} already", to_valid_utf8(id)));
  threads_.push_back({.info = {.thread_id = id,
                               .method_name = function.name,
                               .registered_at = clock_.now(),
                               .session_id = std::string(session_id_)},
                      .function = std::move(function),
                      .arguments = std::move(arguments),
                      .options = options});
  try {
    co_await launch(id, deadline);
  } catch (...) {
    // Where it had not been asked to begin, or refused, there is nothing to stop.
    std::erase_if(threads_, [&](const Thread& each) { return each.info.thread_id == id && each.boot == 0; });
    throw;
  }
}

// Takes the thread for there from the moment at which it may be.
Async<void> BoardThreads::launch(std::string id, Instant deadline) {
  co_await bring(deadline);
  co_await board_.deploy(require(id).function, deadline);
  Thread& thread = require(id);
  const auto ms = [](Milliseconds time) { return time.count(); };
  std::string arguments;
  for (const Value& argument : thread.arguments) arguments += to_python(argument) + ",";
  const std::string code = fmt::format("_sj_threads.start({},{},({}),{},{},{})", quoted(id), thread.function.name,
                                       arguments, ms(thread.options.period.value_or(Milliseconds(0))),
                                       ms(thread.options.max_runtime), ms(thread.options.restart_after));
  thread.boot = board_.link().boot();
  thread.failures = 0;
  thread.info.state = ThreadState::running;
  try {
    co_await board_.eval(code, deadline);
  } catch (const Error& error) {
    const bool may_run = error.code() == ErrorCode::call_timeout || error.code() == ErrorCode::protocol_error ||
                         error.code() == ErrorCode::cancelled;
    if (Thread* const refused = find(id); refused != nullptr && !may_run) {
      refused->boot = 0;
      refused->info.state = ThreadState::lost;
    }
    throw;
  }
}

// Whether there is news of it.
bool BoardThreads::take(Thread& thread, const Report& report) const {
  BackgroundThreadInfo& info = thread.info;
  const ThreadState before = info.state;
  const bool failed = report.failures != std::exchange(thread.failures, report.failures);
  if (failed) {
    Traceback traceback = parse_traceback(report.traceback);
    if (!traceback.frames.empty() && traceback.frames.front().function == outermost) {
      traceback.frames.erase(traceback.frames.begin());
    }
    info.error = board_.error_of(std::move(traceback), thread.function.place);
  }
  info.beats = report.beats;
  info.restarts = report.restarts;
  info.printed += report.printed;
  if (info.printed.size() > printed_bytes) info.printed.erase(0, info.printed.size() - printed_bytes);
  const bool silent = report.silence > thread.options.heartbeat_timeout || report.silence.count() < 0;
  info.state = report.runs ? (silent ? ThreadState::silent : ThreadState::running)
                           : (report.failures > report.restarts ? ThreadState::failed : ThreadState::ended);
  return info.state != before || failed;
}

Async<std::vector<BackgroundThreadInfo>> BoardThreads::check(Instant deadline) {
  std::vector<BackgroundThreadInfo> news;
  const auto note_lost = [&] {
    for (Thread& thread : threads_) {
      if (is_there(thread) || !thread.info.is_active()) continue;
      thread.info.state = ThreadState::lost;
      news.push_back(thread.info);
    }
  };
  if (any_there()) {
    std::optional<Value> answer;
    try {
      answer = co_await board_.eval("_sj_threads.state()", deadline);
    } catch (const Error& error) {
      if (!has_not_begun(error)) throw;
    }
    if (!answer) co_await board_.open(deadline);
    const auto* reports = answer ? std::get_if<List>(&answer->is) : nullptr;
    if (answer && reports == nullptr) throw misunderstood();
    for (const Value& value : reports ? reports->items : std::vector<Value>()) {
      const Report report = Report::of(value);
      Thread* const thread = find(report.id);
      if (thread != nullptr && is_there(*thread) && take(*thread, report)) news.push_back(thread->info);
    }
  }
  note_lost();
  co_return news;
}

// What the board says of the thread once it has been told to end; nothing where it is not there.
Async<std::optional<BoardThreads::Report>> BoardThreads::ask_to_end(std::string id, Instant deadline) {
  const Value answer = co_await board_.eval(fmt::format("_sj_threads.stop({})", quoted(id)), deadline);
  if (answer == Value{None{}}) co_return std::nullopt;
  co_return Report::of(answer);
}

Async<void> BoardThreads::stop(std::string id, Instant deadline) {
  require(id);
  const auto is_known = [&] {
    const Thread* const thread = find(id);
    return thread != nullptr && is_there(*thread);
  };
  for (Milliseconds wait = first_wait; is_known(); wait = std::min(wait * 2, longest_wait)) {
    std::optional<Report> report;
    try {
      report = co_await ask_to_end(id, deadline);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::call_timeout && !has_not_begun(error)) throw;
      if (error.code() == ErrorCode::call_timeout) report = Report{.id = id, .runs = true};
    }
    if (!report || !report->runs) break;
    if (clock_.instant() + wait >= deadline) throw goes_on(require(id));
    co_await sleep_until(clock_, clock_.instant() + wait);
  }
  std::erase_if(threads_, [&](const Thread& each) { return each.info.thread_id == id; });
}

Error BoardThreads::goes_on(const Thread& thread) {
  const std::string& id = thread.info.thread_id;
  const SourcePlace& place = thread.function.place;
  return Error(
      ErrorCode::call_timeout,
      fmt::format("thread {} ({}:{}, {}) was told to end and goes on: it does not call beat(). Only a restart "
                  "of the board ends it",
                  id, place.file, place.line, thread.info.method_name),
      {{"thread", id}});
}

bool BoardThreads::wants_restore() const {
  return std::ranges::any_of(threads_, [&](const Thread& thread) { return is_to_restore(thread); });
}

bool BoardThreads::is_to_restore(const Thread& thread) const {
  return !is_there(thread) && thread.info.state != ThreadState::ended && thread.info.state != ThreadState::failed;
}

Async<void> BoardThreads::restore(Instant deadline) {
  std::vector<std::string> lost;
  for (Thread& thread : threads_) {
    if (!is_to_restore(thread)) continue;
    thread.info.state = ThreadState::lost;
    lost.push_back(thread.info.thread_id);
  }
  std::exception_ptr failure;
  for (const std::string& id : lost) {
    try {
      co_await launch(id, deadline);
    } catch (const Error& error) {
      // Of any other the board may have begun anew, and then set-up comes first.
      if (error.code() != ErrorCode::app_error) throw;
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// Those that do not stand still yet. The board itself ends the hold at its time, whatever becomes of the wire.
Async<std::vector<std::string>> BoardThreads::set_hold(Milliseconds time, Instant deadline) {
  const Value answer = co_await board_.eval(fmt::format("_sj_threads.hold({})", time.count()), deadline);
  const auto* list = std::get_if<List>(&answer.is);
  if (list == nullptr) throw misunderstood();
  std::vector<std::string> ids;
  for (const Value& id : list->items) ids.push_back(text_of(id));
  co_return ids;
}

Async<void> BoardThreads::hold(Instant deadline) {
  std::vector<std::string> moving;
  for (Milliseconds wait = first_wait; any_there(); wait = std::min(wait * 2, longest_wait)) {
    const auto left = std::chrono::ceil<Milliseconds>(deadline - clock_.instant());
    moving = co_await set_hold(std::clamp(left, Milliseconds(1), longest_hold), deadline);
    if (moving.empty() || clock_.instant() + wait >= deadline) break;
    co_await sleep_until(clock_, clock_.instant() + wait);
  }
  if (moving.empty()) co_return;
  throw Error(ErrorCode::call_timeout,
              fmt::format("nothing can run alone beside thread {}: it does not call beat()", moving.front()),
              {{"thread", moving.front()}});
}

Async<void> BoardThreads::let_go(Instant deadline) {
  if (any_there()) co_await set_hold(Milliseconds(0), deadline);
}

Async<void> BoardThreads::remove(Instant deadline) {
  if (board_.is_deployed(support)) co_await board_.remove(support.name, deadline);
}

}  // namespace sojourn::device
