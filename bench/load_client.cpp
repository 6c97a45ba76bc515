#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "bench/load.hpp"

// Puts load on a server and prints what came of it as one line of JSON.
int main(int argc, char** argv) {
  sojourn::bench::LoadPlan plan;
  unsigned warm_up = 1000;
  unsigned duration = 3000;
  CLI::App app("Load on an HTTP server: each connection sends its request again as soon as it is answered.");
  app.add_option("--host", plan.host, "IPv4 address");
  app.add_option("--port", plan.port, "port")->required();
  app.add_option("--method", plan.method, "GET, POST ...");
  app.add_option("--path", plan.path, "where to send it");
  app.add_option("--ids", plan.ids, "{id} in the path is six hexadecimal digits from 1 to that, others each time");
  app.add_option("--header", plan.headers, "'Name: value', may be repeated");
  app.add_option("--connections", plan.connections, "connections, each with one call at a time");
  app.add_option("--sessions", plan.sessions, "sessions that the connections share; each its own by default");
  app.add_option("--open", plan.open_body, "body that opens a session; its answer's session_id is {session}");
  app.add_option("--body", plan.body, "body of each call; {session} and {connection} are replaced");
  app.add_option("--warm-up", warm_up, "milliseconds before measuring");
  app.add_option("--duration", duration, "milliseconds of measuring");
  app.add_option("--calls", plan.calls, "as many calls as that, however long it takes");
  CLI11_PARSE(app, argc, argv);
  plan.warm_up = std::chrono::milliseconds(warm_up);
  plan.duration = std::chrono::milliseconds(duration);
  try {
    const auto report = sojourn::bench::run_load(plan);
    fmt::print(
        "{{\"calls\": {}, \"errors\": {}, \"calls_per_second\": {:.1f}, \"p50_us\": {:.1f}, \"p90_us\": {:.1f}, "
        "\"p99_us\": {:.1f}, \"max_us\": {:.1f}}}\n",
        report.calls, report.errors, report.calls_per_second(), report.percentile(0.5), report.percentile(0.9),
        report.percentile(0.99), report.percentile(1));
    if (report.errors > 0)
      fmt::print(stderr, "load_client: first of {} errors: {}\n", report.errors, report.first_error);
    return report.errors == 0 && report.calls > 0 ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "load_client: {}\n", error.what());
    return 1;
  }
}
