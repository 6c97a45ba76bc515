#pragma once

#include <memory>
#include <vector>

#include "sojourn/flow/isolated.hpp"
#include "sojourn/worker/process_limits.hpp"

// Processes of a program's own, in which the isolated nodes of its flows run.
//
//     int main(int count, char** words) {
//       const crew::Program program(count, words, {parse, render});
//       crew::Crew crew(program);
//       flow::ThreadPool pool;
//       flow::Session session(pool, {.isolated = &crew});
//
// Each process is the same program, started anew, so it has the same nodes. It runs one call at a time, and stays for
// the next. A node that crashes it, or is killed, fails its own call alone.
namespace sojourn::crew {

// The program, in each of its processes.
class Program {
 public:
  // Make it first thing in main, before any thread. In a process of a crew it runs `nodes` for the crew, and ends the
  // process; in any other it does nothing. `count` and `words` are those of main.
  // Errors: invalid_request for two nodes of one name, or one that is not isolated.
  Program(int count, char** words, const std::vector<flow::IsolatedNode>& nodes);
};

struct Options {
  unsigned processes = 0;                     // at once; 0: as many as the machine has cores
  worker::ProcessLimits limits = {};          // of each; memory is that of its address space
  Milliseconds patience = Milliseconds(100);  // what a call that was told to stop gets before its process is killed
};

// Nothing is started before the first call. The processes have this one's environment, working directory and standard
// output; whatever ends this process ends them.
//
// Lifetime: outlives the sessions that use it.
// Threads:  safe, but for destruction; a thread of its own does its work.
class Crew final : public flow::IsolatedCalls {
 public:
  explicit Crew(const Program& program, Options options = {});

  // Ends its processes. Calls that run fail with worker_lost.
  ~Crew() override;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  Executor executor() override;

  // Waits for a process where all are busy, first come first served.
  Async<Json> call(flow::IsolatedCall call) override;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace sojourn::crew
