#include <iostream>

#include "sojourn/client/client.hpp"

// Calls, sessions and failures, for a program that waits.
using sojourn::JsonObject;
using sojourn::Seconds;
using sojourn::client::CallFailed;
using sojourn::client::Client;
using sojourn::client::is_session_gone;

// A call is a value: what to run, on what, in which session.
std::string count_twice(Client& client) {
  const auto first = client.run(
      {.app = "counter", .input = JsonObject{{"key", "visits"}}, .session = "new", .session_timeout = Seconds(300)});
  std::cout << first.output() << '\n';

  const auto second = client.run({.input = {{"key", "visits"}, {"amount", 5}}, .session = first.session_id()});
  std::cout << second.output() << '\n';
  return first.session_id();
}

// A session is an object that ends with its scope.
std::string analyse(Client& client) {
  auto session = client.session({.app = "data-processor", .labels = {{"report", "spring"}}});
  session.call(JsonObject{{"action", "load"}, {"dataset", "weather"}});
  for (const char* kind : {"summary", "trends"}) {
    const auto done = session.call(JsonObject{{"action", "analyze"}, {"type", kind}});
    std::cout << kind << ": " << done.output().at("columns").as_object().size() << " columns\n";
  }
  return session.id();
}

void change_state(Client& client, const std::string& session_id) {
  auto counter = client.attach(session_id);  // which ends only when it is told to
  counter.set_state("visits", 100);
  std::cout << counter.call(JsonObject{{"key", "visits"}}).output().at("current") << '\n';
  counter.end();
}

void fail(Client& client, const std::string& session_id) {
  try {
    client.run({.app = "counter", .input = 7});
  } catch (const CallFailed& error) {  // the call was taken in, and then failed
    std::cout << sojourn::info(error.code()).wire << ", " << error.task().status() << '\n';
  }
  try {
    client.attach(session_id).call();
  } catch (const sojourn::Error& error) {  // it was refused
    std::cout << error.message() << (is_session_gone(error) ? ": start a new one" : "") << '\n';
  }
}

int main() {
  Client client;  // of SOJOURN_URL and SOJOURN_API_KEY; or Client client("http://127.0.0.1:8080", "sjn_...");
  const std::string counter = count_twice(client);
  const std::string report = analyse(client);
  std::cout << "the report's session is " << client.attach(report).info().at("status").as_string().c_str() << '\n';
  change_state(client, counter);
  fail(client, counter);
}
