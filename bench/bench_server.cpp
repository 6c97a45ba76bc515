// A whole Sojourn server with one app in C++, `counter`, to measure what Sojourn itself costs: no process stands
// behind a call.
#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "bench/counter_app.hpp"
#include "sojourn/server/serve.hpp"

using namespace sojourn;

int main(int count, char** words) {
  CLI::App line("A Sojourn server with an app in C++");
  std::string listen = "127.0.0.1:0";
  std::string data;
  line.add_option("--listen", listen);
  line.add_option("--data", data)->required();
  CLI11_PARSE(line, count, words);

  const auto colon = listen.rfind(':');
  server::serve(
      {.host = listen.substr(0, colon),
       .port = static_cast<std::uint16_t>(std::stoi(listen.substr(colon + 1))),
       .data = data,
       .apps = "",
       .own_apps = {std::make_shared<bench::CounterApp>()},
       .on_ready = [](const std::string& address) { std::cout << "listening on " << address << std::endl; }},
      Log(LogLevel::warning));
  return 0;
}
