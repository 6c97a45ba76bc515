#include "sojourn/crew/test_nodes.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "sojourn/base/event.hpp"

namespace sojourn::crew {

namespace {

// A file is there with all of its text, or not at all.
void write(const std::string& file, const std::string& text) {
  std::ofstream(file + ".new") << text;
  std::filesystem::rename(file + ".new", file);
}

void write_pid(const std::string& file) {
  write(file, std::to_string(::getpid()));
}

Async<void> wait_from(std::string file) {
  write_pid(file);
  Event never;
  co_await never.wait();
}

}  // namespace

const flow::Node<Spot, Spot, double> moved = flow::node(flow::isolated("moved"), [](Spot spot, double by) {
  for (double& each : spot.at) each += by;
  return spot;
});

const flow::Node<int> own_pid = flow::node(flow::isolated("own pid"), [] { return static_cast<int>(::getpid()); });

const flow::Node<std::string, std::string> throws =
    flow::node(flow::isolated("throws"), [](const std::string& what) -> std::string {
      if (what == "range") throw std::out_of_range("too far");
      if (what == "fatal") throw flow::Fatal("no way on");
      throw Error(ErrorCode::not_found, "there is no such thing", {{"thing", what}}).set_retryable(true);
    });

const flow::Node<int, int> dies_of = flow::node(flow::isolated("dies of"), [](int signal) {
  if (signal == 0) return signal;
  if (signal != SIGKILL) ::signal(signal, SIG_DFL);  // a sanitizer would take it
  ::raise(signal);
  return signal;
});

const flow::Node<void, std::string> computes_for_ever =
    flow::node(flow::isolated("computes for ever"), [](const std::string& file) {
      write_pid(file);
      for (volatile unsigned turns = 0;;) turns = turns + 1;
    });

const flow::Node<void, std::string> waits_for_ever = flow::node(flow::isolated("waits for ever"), wait_from);

const flow::Node<int, std::string, std::string> meets =
    flow::node(flow::isolated("meets"), [](const std::string& mine, const std::string& other) {
      write_pid(mine);
      return std::stoi(wait_for_text(other));
    });

const flow::Node<std::uint64_t, std::uint64_t> fills = flow::node(flow::isolated("fills"), [](std::uint64_t bytes) {
  static std::vector<char> held;  // so that nothing is optimised away
  held.assign(bytes, 'x');
  return held.size();
});

const flow::Node<int, std::string> counts = flow::node(flow::isolated("counts"), [](const std::string& file) {
  int count = 0;
  std::ifstream(file) >> count;
  std::ofstream(file) << ++count;
  return count;
});

const flow::Node<void, std::string> says =
    flow::node(flow::isolated("says"), [](const std::string& text) { std::cout << text << std::endl; });

const flow::Node<std::string> folder_and_variable = flow::node(flow::isolated("folder and variable"), [] {
  const char* variable = std::getenv("CREW_TEST");
  return std::filesystem::current_path().string() + " " + (variable == nullptr ? "" : variable);
});

const flow::Node<Json, Json> unlisted = flow::node(flow::isolated("unlisted"), [](Json value) { return value; });

Program test_program(int count, char** words) {
  return Program(count, words,
                 {moved, own_pid, throws, dies_of, computes_for_ever, waits_for_ever, meets, fills, counts, says,
                  folder_and_variable});
}

std::string wait_for_text(const std::string& file) {
  while (true) {
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    if (!text.str().empty()) return text.str();
    std::this_thread::yield();
  }
}

bool is_alive(int pid) {
  if (::kill(pid, 0) != 0) return false;
  // One that nobody has waited for yet is dead all the same.
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(stat), {}};
  const std::size_t name_end = text.rfind(") ");
  return name_end != std::string::npos && text[name_end + 2] != 'Z';
}

}  // namespace sojourn::crew

namespace {

// A program whose node runs when it is killed.
int run_until_killed(const sojourn::crew::Program& program, const char* file) {
  using namespace sojourn;
  crew::Crew crew(program);
  flow::ThreadPool pool;
  flow::Session session(pool,
                        {.logging_setting = flow::LoggingSetting::none, .save_state = false, .isolated = &crew});
  session.call_sync(crew::computes_for_ever, file);
  return 1;
}

}  // namespace

int main(int count, char** words) {
  const auto program = sojourn::crew::test_program(count, words);
  if (count == 3 && std::string_view(words[1]) == "program") return run_until_killed(program, words[2]);
  testing::InitGoogleTest(&count, words);
  return RUN_ALL_TESTS();
}
