#include <iostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/client/async_client.hpp"

// Sessions side by side on one thread, for a program that has a loop of its own.
using sojourn::Async;
using sojourn::JsonObject;
using sojourn::client::AsyncClient;
using sojourn::client::AsyncSession;

Async<void> count_to(AsyncSession session, int most) {
  for (int i = 0; i < most; ++i) co_await session.call(JsonObject{{"key", "n"}});
  const auto state = co_await session.get_state("n");
  std::cout << "counted to " << *state << '\n';
}

// Each session ends with the function that it is given to, whatever happens there.
Async<void> count(AsyncClient& client, int most) {
  return client.in_session({.app = "counter"}, [most](AsyncSession session) { return count_to(session, most); });
}

Async<void> count_side_by_side(AsyncClient& client, sojourn::TaskGroup& group) {
  group.spawn(count(client, 3));
  group.spawn(count(client, 3));
  co_await group.join();
}

int main() {
  sojourn::Loop loop;  // any executor of Asio's will do that runs one thing at a time
  sojourn::SystemClock clock;
  AsyncClient client(loop.executor(), clock, sojourn::client::options_from_environment());
  sojourn::TaskGroup group(loop.executor());
  loop.run(count_side_by_side(client, group));
}
