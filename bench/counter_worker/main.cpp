// The app of bench_server as a process of its own.
#include "bench/counter_app.hpp"
#include "sojourn/worker/serve.hpp"

int main() {
  return sojourn::worker::serve(std::make_unique<sojourn::bench::CounterApp>());
}
