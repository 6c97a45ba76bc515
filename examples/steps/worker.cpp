#include "examples/steps/gauge.hpp"
#include "sojourn/steps/app.hpp"
#include "sojourn/worker/serve.hpp"

// The same algorithm as a program that a server starts, one process a session.
int main() {
  return sojourn::worker::serve(sojourn::steps::app<example::Gauge>());
}
