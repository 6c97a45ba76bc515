#include <fstream>
#include <iostream>

#include "sojourn/flow/session.hpp"

// What a session tells while it runs, and what it leaves behind.
using namespace sojourn;

int main() {
  const auto bake = flow::node("bake", [](flow::Scope& scope, const std::string& cake) {
    scope.broadcast("the oven is on");
    scope.context().modify("cakes", [](Json cakes) { return Json(cakes.as_int64() + 1); });
    return cake + " cake";
  });

  flow::ThreadPool pool;
  std::filesystem::path file;
  {
    flow::Session session(pool, {.context = {{"cakes", 0}},
                                 .broadcast_callback = [](const Json& item) { std::cout << to_text(item) << '\n'; },
                                 .save_state = true,
                                 .flow_name = "bakery"});
    session.publisher().subscribe("watch", flow::MessageHandler([](const flow::Message& message) {
                                    const auto& done = std::get<flow::RequestSuccess>(message.body);
                                    std::clog << done.node->name << " took " << done.duration.count() << " ns\n";
                                  }),
                                  {.wants = flow::is_one_of<flow::RequestSuccess>});
    session.call_sync(bake, "apple");
    file = session.saved_to();
  }  // closed: what waited is delivered, and the session is saved
  std::ifstream saved(file);
  std::cout << std::string(std::istreambuf_iterator<char>(saved), {}).substr(0, 32) << "...\n";
}
