#include <iostream>
#include <string_view>

#include "examples/word_count.hpp"
#include "sojourn/server/serve.hpp"
#include "sojourn/worker/supervisor_process.hpp"

// A whole server that brings an app in C++ along. Programs in a folder "apps", if there is one, are served too.
int main(int count, char** words) {
  // The server starts this program again as the parent of all worker processes.
  if (count == 2 && std::string_view(words[1]) == "supervise") return sojourn::worker::supervisor_main();
  if (count != 2) {
    std::cerr << "usage: own_server DATA_FOLDER\n";
    return 2;
  }
  sojourn::server::ServeOptions options;
  options.port = 0;
  options.data = words[1];
  options.own_apps = {std::make_shared<example::WordCount>()};
  options.on_ready = [](const std::string& address) { std::cout << "listening on " << address << std::endl; };
  try {
    sojourn::server::serve(options, sojourn::Log());
  } catch (const sojourn::Error& error) {
    std::cerr << error.message() << '\n';
    return 1;
  }
}
