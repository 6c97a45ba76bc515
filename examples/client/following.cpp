#include <iostream>

#include "sojourn/client/client.hpp"

// Follows a call while it runs, and carries a file to another.
using sojourn::JsonObject;

int main() {
  sojourn::client::Client client;

  auto notebook = client.session({.app = "markdown-notes"});
  for (const char* title : {"Spring", "Summer", "Autumn"}) {
    notebook.call(JsonObject{{"title", title}, {"text", "# " + std::string(title)}}, "add");
  }
  auto stream = notebook.stream(nullptr, "book");
  while (const auto update = stream.next()) {  // throws after the last one, if the call failed
    if (update->output_changed) std::cout << stream.task().status() << ' ' << stream.task().output() << '\n';
  }

  const std::string uri =
      client.upload({.name = "cat.txt", .bytes = "meow", .content_type = "text/plain"});  // or upload_file(path)
  auto keeper = client.session({.app = "session-test"});
  const auto kept = keeper.call(JsonObject{{"key", "cat"}, {"value", uri}}, "set_value");
  std::cout << kept.output().at("value").at("filename") << " with " << kept.output().at("value").at("size")
            << " bytes, which are " << client.download(uri) << '\n';
}
