#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/signature.hpp"
#include "sojourn/device/board_files.hpp"
#include "sojourn/device/checked_code.hpp"
#include "sojourn/device/device_session_manager.hpp"

// What a board costs, beside a client that does the least: one JSON object a line, {"name", "value", "unit",
// "asked"}.
//
//   board_figures NAME ADDRESS [ROUNDS [FILE_BYTES]]
//
// ADDRESS is a subprocess. The bare client waits in poll(), sends code as it is, and checks nothing; both are
// measured in turn on boards of their own.
namespace {

std::int64_t given_out = 0;  // bytes that C++ code holds, with the allocator's eight for each piece

}  // namespace

void* operator new(std::size_t bytes) {
  void* piece = std::malloc(bytes);
  if (piece == nullptr) throw std::bad_alloc();
  given_out += static_cast<std::int64_t>(::malloc_usable_size(piece)) + 8;
  return piece;
}
void operator delete(void* piece) noexcept {
  if (piece != nullptr) given_out -= static_cast<std::int64_t>(::malloc_usable_size(piece)) + 8;
  std::free(piece);
}
void operator delete(void* piece, std::size_t) noexcept {
  operator delete(piece);
}

namespace {

using namespace sojourn;
using device::Board;
using Steady = std::chrono::steady_clock;

double milliseconds_since(Steady::time_point start) {
  return std::chrono::duration<double, std::milli>(Steady::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// The least that speaks raw REPL.
class BareClient {
 public:
  explicit BareClient(std::vector<std::string> command) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw io_error("socketpair", errno);
    wire_ = ends[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    command.insert(command.begin(),
                   {"setpriv", "--pdeathsig", "KILL"});  // it dies with this, however that comes about
    std::vector<char*> arguments;
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int error = ::posix_spawnp(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0) throw io_error(command.front(), error);
  }
  ~BareClient() {
    ::close(wire_);
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  BareClient(const BareClient&) = delete;
  BareClient& operator=(const BareClient&) = delete;

  void enter() {
    do {
      send("\x03\x03\x01");
    } while (!wait_for("CTRL-B to exit\r\n>", 50));
  }
  std::string run(const std::string& code) {
    for (int attempt = 0; attempt < 5; ++attempt) {  // a board that lost a byte waits for the rest
      send(code + '\x04');
      if (wait_for("\x04>", 2'000)) return said_;
      enter();
    }
    throw Error(ErrorCode::call_timeout, "the board does not answer");
  }

 private:
  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::write(wire_, bytes.data(), bytes.size());
      if (count < 0) throw io_error("write", errno);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  bool wait_for(std::string_view end, int timeout) {
    said_.clear();
    while (!said_.ends_with(end)) {
      pollfd ready{wire_, POLLIN, 0};
      if (::poll(&ready, 1, timeout) <= 0) return false;
      char bytes[4096];
      const ssize_t count = ::read(wire_, bytes, sizeof bytes);
      if (count <= 0) throw io_error("read", errno);
      said_.append(bytes, static_cast<std::size_t>(count));
    }
    return true;
  }

  int wire_ = -1;
  pid_t process_ = 0;
  std::string said_;
};

std::string board_name;

void report(std::string_view name, double value, std::string_view unit, std::optional<double> asked = std::nullopt) {
  fmt::print("{{\"name\": \"{}, {}\", \"value\": {:.4f}, \"unit\": \"{}\", \"asked\": {}}}\n", board_name, name,
             value, unit, asked ? fmt::format("{}", *asked) : "null");
}

struct Figures {
  std::vector<double> bare;
  std::vector<double> ours;
  void print(std::string_view name, double asked) const {
    report(name, median(ours) / median(bare), "times the bare client's", asked);
    report(name, median(ours), "ms");
  }
};

struct Bench {
  Loop& loop;
  Clock& clock;
  Random& random;
  const device::SubprocessAddress& address;
  int rounds;
  std::size_t file_bytes;

  Instant soon() const { return clock.instant() + Seconds(60); }
};

const device::Function add{"add", "def add(a, b):\n return a + b\n", {"bench", 1}};
const std::vector<device::Value> two_and_three{{std::int64_t(2)}, {std::int64_t(3)}};

// Both boards run already; the prompt and what the board can do are what a session waits for.
Async<void> measure_opening(const Bench& bench, Board& board, BareClient& bare) {
  Figures opening;
  bare.enter();
  co_await board.open(bench.soon());
  for (int i = 0; i < 20; ++i) {
    auto start = Steady::now();
    bare.enter();
    bare.run(std::string(device::capability_probe()));
    opening.bare.push_back(milliseconds_since(start));
    co_await board.soft_reset(bench.soon());
    board.remember(std::nullopt);
    start = Steady::now();
    co_await board.capabilities(bench.soon());
    opening.ours.push_back(milliseconds_since(start));
  }
  report("cold session: prompt, guard and probe", median(opening.ours), "ms", board_name == "micro:bit" ? 5.0 : 3.0);
  report("prompt and probe of the bare client", median(opening.bare), "ms");

  std::vector<double> wire;
  const std::string probe(device::capability_probe());
  const std::size_t bytes =
      device::guard_script().size() + device::checked_code(probe, device::CodeKind::statements).text.size();
  const std::string comment(bytes, '#');
  for (int i = 0; i < 20; ++i) {
    const auto start = Steady::now();
    bare.run(comment);
    wire.push_back(milliseconds_since(start));
  }
  report(fmt::format("as many bytes, {}, in a comment of the bare client", bytes), median(wire), "ms");
}

Async<void> measure_calls(const Bench& bench, Board& board, BareClient& bare) {
  Figures call;
  bare.run(add.source);
  co_await board.call(add, two_and_three, bench.soon());
  for (int i = 0; i < bench.rounds; ++i) {
    auto start = Steady::now();
    bare.run("print(add(2,3))");
    call.bare.push_back(milliseconds_since(start));
    start = Steady::now();
    co_await board.call(add, two_and_three, bench.soon());
    call.ours.push_back(milliseconds_since(start));
  }
  call.print("call of a deployed function", 1.3);
}

// Of bytes of all values. The bare client sends the larger chunks that a board's heap bears, in base64 where it can.
Async<void> measure_files(const Bench& bench, Board& board, BareClient& bare) {
  Figures file;
  std::string data;
  for (std::size_t i = 0; i < bench.file_bytes; ++i) data += static_cast<char>(i * 7 + i / 256);
  const bool base64 = (co_await board.capabilities(bench.soon())).has("binascii");
  const std::size_t chunk = base64 ? 2048 : 512;
  device::BoardFiles files(board);
  for (int i = 0; i < 5; ++i) {
    auto start = Steady::now();
    bare.run(base64 ? "from binascii import a2b_base64\nf=open('f','wb')" : "f=open('f','wb')");
    for (std::size_t at = 0; at < data.size(); at += chunk) {
      const std::string piece = data.substr(at, chunk);
      bare.run(base64 ? "f.write(a2b_base64(b'" + to_base64(piece) + "'))"
                      : "f.write(" + device::bytes_literal(piece) + ")");
    }
    bare.run("f.close()");
    file.bare.push_back(milliseconds_since(start));
    start = Steady::now();
    co_await files.write("f", data, bench.soon());
    file.ours.push_back(milliseconds_since(start));
  }
  file.print(fmt::format("put of {} bytes", bench.file_bytes), 1.6);
}

Async<void> define(const Bench& bench, device::DeviceSession& session, std::string name) {
  const device::Function function{name, fmt::format("def {}():pass\n", name), {"f.py", 1}};
  co_await session.call(function, {}, bench.soon());
}

Async<void> nothing() {
  co_return;
}

Async<void> measure_sessions(const Bench& bench, Board& board, device::DeviceSessionManager& manager) {
  co_await board.capabilities(bench.soon());
  std::vector<double> warm;
  for (int i = 0; i < 50; ++i) {
    const auto start = Steady::now();
    const auto session = co_await manager.create(board);
    warm.push_back(milliseconds_since(start));
    co_await manager.end(session->id());
  }
  report("warm session, its capabilities known", median(warm), "ms", 0.2);

  std::int64_t before = given_out;
  const auto session = co_await manager.create(board);
  report("a session", static_cast<double>(given_out - before), "bytes of heap each", 2048);
  constexpr int reuses = 20'000;
  const auto start = Steady::now();
  for (int i = 0; i < reuses; ++i) co_await manager.get_or_create(board);
  report("session reuse", milliseconds_since(start) * 1000 / reuses, "us", 2.0);

  constexpr int resources = 256;
  constexpr std::size_t callers_own = 2 * sizeof(std::string) + sizeof(std::function<Async<void>()>);
  before = given_out;
  for (int i = 0; i < resources; ++i) {
    session->add_resource({.id = fmt::format("r{}", i), .kind = "timer", .cost = 1, .cleanup = nothing});
  }
  const double each = static_cast<double>(given_out - before) / resources;
  report("a tracked resource, beyond its strings and closure", each - callers_own, "bytes of heap each", 100);
  constexpr int methods = 12;
  co_await define(bench, *session, "f");
  before = given_out;
  for (int i = 0; i < methods; ++i) co_await define(bench, *session, fmt::format("f{}", i));
  report("a cached method", static_cast<double>(given_out - before) / methods, "bytes of heap each", 500);
}

Async<void> measure_sessions(const Bench& bench, Board& board) {
  Log quiet = Log::silent();
  device::DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, quiet);
  std::exception_ptr failure;
  try {
    co_await measure_sessions(bench, board, manager);
  } catch (...) {
    failure = std::current_exception();
    manager.dispose();
  }
  co_await manager.close();
  if (failure) std::rethrow_exception(failure);
}

// Scripts that their own board sums up, so that damage which nobody noticed shows.
Async<void> measure_integrity(const Bench& bench, Board& board) {
  constexpr int scripts = 3000;
  co_await board.exec("n=0", bench.soon());
  std::int64_t expected = 0;
  for (int i = 0; i < scripts; ++i) {
    const std::string text = fmt::format("{:0>4}{}", i, std::string(260, static_cast<char>('a' + i % 26)));
    co_await board.exec(fmt::format("n+=sum(b'{}')", text), bench.soon());
    for (const char c : text) expected += c;
  }
  const bool whole = co_await board.eval("n", bench.soon()) == device::Value{expected};
  report(fmt::format("{} scripts of 300 bytes, damage that nobody noticed", scripts), whole ? 0 : 1, "of 1", 0.0);
  report("sends that were repeated, of all of the above", static_cast<double>(board.link().statistics().damaged),
         "sends");
}

Async<void> call_often(const Bench& bench, Board& board, int calls) {
  for (int i = 0; i < calls; ++i) co_await board.call(add, two_and_three, bench.soon());
}

// Milliseconds of processor time that this process has taken, and those of its children that run.
struct ProcessorTime {
  double own = 0;
  double boards = 0;

  static ProcessorTime now() {
    const auto tick = 1000.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
    const std::string self = std::to_string(::getpid());
    ProcessorTime time;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != pid.npos) continue;
      std::ifstream file(entry.path() / "stat");
      std::string text((std::istreambuf_iterator<char>(file)), {});
      std::istringstream fields(text.substr(std::min(text.rfind(')') + 2, text.size())));  // after the name
      std::vector<std::string> all{std::istream_iterator<std::string>(fields), {}};
      if (all.size() < 13) continue;
      const double taken = (std::stod(all[11]) + std::stod(all[12])) * tick;
      if (pid == self) time.own += taken;
      if (all[1] == self) time.boards += taken;
    }
    return time;
  }
};

Async<void> measure_many(const Bench& bench) {
  constexpr int boards = 16;
  constexpr int calls = 100;
  std::vector<std::unique_ptr<Board>> all;
  for (int i = 0; i < boards; ++i) {
    all.push_back(std::make_unique<Board>(bench.loop.executor(), bench.clock, bench.random, bench.address));
    co_await call_often(bench, *all.back(), 1);
  }
  std::vector<double> ratios;
  std::vector<double> bounds;
  std::vector<double> boards_times;
  std::vector<double> own_times;
  double fastest = 0;
  for (int round = 0; round < 5; ++round) {
    auto start = Steady::now();
    for (const auto& board : all) co_await call_often(bench, *board, calls);
    const double in_turn = milliseconds_since(start);
    const ProcessorTime before = ProcessorTime::now();
    start = Steady::now();
    TaskGroup group(bench.loop.executor());
    for (const auto& board : all) group.spawn(call_often(bench, *board, calls));
    co_await group.join();
    const double at_once = milliseconds_since(start);
    const ProcessorTime after = ProcessorTime::now();
    ratios.push_back(at_once / in_turn);
    boards_times.push_back((after.boards - before.boards) / boards / calls);
    own_times.push_back((after.own - before.own) / boards / calls);
    const double work = boards_times.back() + own_times.back();
    bounds.push_back(work * boards * calls / std::thread::hardware_concurrency() / in_turn);
    fastest = std::max(fastest, boards * calls * 1000 / at_once);
  }
  for (const auto& board : all) co_await board->close();
  report("16 boards at once", median(ratios), "of the time one after another", 1.0 / 3);
  report("16 boards at once, were no processor ever idle", median(bounds), "of the time one after another");
  report("16 boards at once, processor time of the boards", median(boards_times), "ms a call");
  report("16 boards at once, processor time of the host's process", median(own_times), "ms a call");
  report("16 boards at once, at best", fastest, "calls/s");
}

Async<void> measure(const Bench& bench, Board& board, BareClient& bare) {
  co_await measure_opening(bench, board, bare);
  co_await measure_calls(bench, board, bare);
  co_await measure_files(bench, board, bare);
  co_await board.soft_reset(bench.soon());
  co_await measure_sessions(bench, board);
  co_await measure_integrity(bench, board);
  co_await measure_many(bench);
}

Async<void> run(const Bench& bench, Board& board, BareClient& bare) {
  std::exception_ptr failure;
  try {
    co_await measure(bench, board, bare);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await board.close();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 3) {
    throw Error(ErrorCode::config_invalid, "usage: board_figures NAME subprocess:COMMAND [ROUNDS [FILE_BYTES]]");
  }
  board_name = arguments[1];
  const device::Address address = device::parse_address(arguments[2]);
  const auto& command = std::get<device::SubprocessAddress>(address);
  Loop loop;
  SystemClock clock;
  SystemRandom random;
  BareClient bare(command.command);
  Board board(loop.executor(), clock, random, address);
  const Bench bench{loop,
                    clock,
                    random,
                    command,
                    count > 3 ? std::stoi(arguments[3]) : 500,
                    count > 4 ? std::stoul(arguments[4]) : 8192};
  loop.run(run(bench, board, bare));
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return 1;
}
