#include <iostream>

#include "sojourn/base/error.hpp"
#include "sojourn/session/session.hpp"

// A session in memory: no server, no store, no threads.
int main() {
  using sojourn::to_text;
  sojourn::session::Session session("part-4711", {{"product", "coin"}});

  session.set("shots", 2);
  session.set("last", sojourn::JsonObject{{"ok", true}, {"diameter_mm", 23.25}});
  std::cout << session.id() << ", " << to_text(session.context()) << ": " << to_text(*session.get("last")) << '\n';

  sojourn::Json copy = *session.get("last");  // a copy: changing it changes nothing in the session
  copy.get_object()["ok"] = false;
  std::cout << "still " << to_text(*session.get("last")) << '\n';

  try {
    session.set("ratio", 1.0 / 0.0);
  } catch (const sojourn::Error& error) {
    std::cout << "refused: " << error.message() << '\n';
  }
  session.remove("shots");
  std::cout << "shots " << (session.exists("shots") ? "kept" : "gone") << '\n';
}
