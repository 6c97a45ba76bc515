#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "sojourn/crew/crew.hpp"
#include "sojourn/crew/process_words.hpp"
#include "sojourn/worker/fork_messages.hpp"
#include "sojourn/worker/serve.hpp"
#include "sojourn/worker/supervisor_process.hpp"

namespace sojourn::crew {

namespace {

constexpr const char* supervisor_word = "sojourn-crew-supervisor";
constexpr const char* process_word = "sojourn-crew-process";

int run_nodes(const char* folder, const std::vector<flow::IsolatedNode>& nodes) {
  // The worker protocol starts a program in a folder of its session, and these have none.
  if (::chdir(folder) != 0) {
    std::perror(folder);
    return 1;
  }
  flow::ThreadPool pool(1);
  return worker::serve(flow::isolated_app(pool, nodes));
}

}  // namespace

Program::Program(int count, char** words, const std::vector<flow::IsolatedNode>& nodes) {
  const std::string_view what = count > 1 ? words[1] : "";
  if (count == 2 && what == supervisor_word) std::exit(worker::supervisor_main());
  if (count == 3 && what == process_word) std::exit(run_nodes(words[2], nodes));
  // What is wrong with them is to be known before the first is needed.
  Loop loop;
  flow::OneThread nowhere(loop);
  flow::isolated_app(nowhere, nodes);
}

std::vector<std::string> supervisor_arguments() {
  return {supervisor_word};
}

std::vector<std::string> process_command() {
  return {"/proc/self/exe", process_word, std::filesystem::current_path().string()};
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view text(*each);
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) {
      variables.emplace(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
    }
  }
  variables.erase(worker::prefork_variable);  // this one's own matter, where a server started it
  return variables;
}

}  // namespace sojourn::crew
