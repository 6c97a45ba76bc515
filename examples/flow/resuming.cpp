#include <csignal>
#include <fstream>
#include <iostream>

#include "sojourn/flow/run_journal.hpp"
#include "sojourn/flow/session.hpp"
#include "sojourn/store/sqlite_store.hpp"

// A flow that survives the death of its process: resuming FOLDER is killed in the middle, and when it is started
// again goes on where it was.
using namespace sojourn;

int main(int, char** arguments) {
  const std::filesystem::path folder = arguments[1];
  const bool is_first = !std::filesystem::exists(folder / "flow");

  const auto order = flow::node("order", [](const std::string& part) {  // not to be done twice
    std::cout << "ordering " << part << '\n';
    return "order of " + part;
  });
  const auto price = flow::node(flow::replay_safe("price"), [is_first](const std::string& part) {
    std::cout << "asking for the price of " << part << std::endl;
    if (is_first && part == "nut") std::raise(SIGKILL);
    return part.size();
  });
  const auto shop = flow::node(flow::replay_safe("shop"), [=](flow::Scope& scope) -> Async<std::uint64_t> {
    std::uint64_t sum = 0;
    for (const char* part : {"screw", "nut"}) {
      co_await scope.call(order, part);
      sum += co_await scope.call(price, part);
    }
    co_return sum;
  });

  flow::ThreadPool pool;
  SystemClock clock;
  const auto store = store::SqliteStore::open({.folder = folder});
  std::shared_ptr<flow::RunJournal> journal;
  if (is_first) {
    journal = flow::RunJournal::begin(pool, *store, clock);
    std::ofstream(folder / "flow") << journal->id();
  } else {
    std::string id;
    std::ifstream(folder / "flow") >> id;
    journal = flow::RunJournal::resume(pool, *store, clock, id);
  }
  {
    flow::Session session(pool, clock, {}, journal);
    const std::uint64_t sum = session.call_sync(shop);
    std::cout << "sum " << sum << '\n';
  }
  journal->end();
  pool.run(store->close());
}
