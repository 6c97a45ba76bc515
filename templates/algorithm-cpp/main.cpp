#include "algorithm.hpp"
#include "sojourn/steps/app.hpp"
#include "sojourn/worker/serve.hpp"

int main() {
  return sojourn::worker::serve(sojourn::steps::app<NewAlgorithm>());
}
