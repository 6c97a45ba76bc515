#include <iostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/session/session_manager.hpp"
#include "sojourn/store/memory_store.hpp"

// Many sessions inside a program of your own: operations of one session run one at a time, and what was acquired is
// released at its end. With store::SqliteStore instead, the sessions outlive the program.
using sojourn::Async;
using sojourn::Json;
using sojourn::session::InSession;

Async<void> release_camera() {
  std::cout << "camera released\n";
  co_return;
}

Async<Json> take_shot(InSession in) {
  const auto shots = in.session.get("shots", 0).to_number<int>() + 1;
  if (shots == 1) in.resources.add({.id = "camera", .kind = "device", .cleanup = release_camera});
  in.session.set("shots", shots);
  co_return shots;
}

Async<Json> fail(InSession in) {
  in.session.set("shots", -1);  // dropped, since the operation fails
  throw sojourn::Error(sojourn::ErrorCode::app_error, "the light went out");
  co_return nullptr;
}

Async<void> inspect(sojourn::session::SessionManager& manager) {
  const std::string id = co_await manager.create({{"product", "coin"}});
  co_await manager.execute(id, take_shot);
  try {
    co_await manager.execute(id, fail);
  } catch (const sojourn::Error& error) {
    std::cout << "failed: " << error.message() << '\n';
  }
  std::cout << "shot " << co_await manager.execute(id, take_shot) << '\n';
  co_await manager.end(id, "inspected");
  std::cout << manager.statistics().total << " session, " << manager.statistics().active << " active\n";
  co_await manager.close();
}

int main() {
  sojourn::Loop loop;
  sojourn::store::MemoryStore store;
  sojourn::SystemClock clock;
  sojourn::SystemRandom random;
  sojourn::session::SessionManager manager(loop.executor(), store, clock, random, {});
  loop.run(inspect(manager));
}
