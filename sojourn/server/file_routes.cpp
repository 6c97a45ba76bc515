#include <fmt/format.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/files.hpp"

// What is asked of files: /files.
namespace sojourn::server {

namespace {

// The server as this client calls it. A proxy that ends TLS says so.
std::string address_of_server(const http::Request& request) {
  const auto host = request.headers.find("Host");
  if (!host || host->empty()) return "";
  const bool tls = request.headers.find("X-Forwarded-Proto") == "https";
  return fmt::format("{}://{}", tls ? "https" : "http", *host);
}

// The official SDKs say of each request to the API, also of a GET, that it is JSON; who fetches the bytes does not.
bool wants_description(const http::Request& request) {
  return request.headers.find("Content-Type").value_or("").starts_with("application/json");
}

}  // namespace

Async<void> Api::announce_files(Ask& ask) {
  const std::string server = address_of_server(ask.request);
  JsonArray answer;
  for (const Announcement& file : read_announcements(ask.request.body)) {
    const Uploads::Ticket ticket = options_.files->uploads.announce(file, ask.caller.name);
    const std::string uri = fmt::format("{}/files/{}", server, ticket.id);
    JsonObject shown{{"id", ticket.id},
                     {"uri", uri},
                     {"upload_url", fmt::format("{}?token={}", uri, ticket.token)},
                     {"filename", file.name},
                     {"content_type", file.content_type},
                     {"path", file.path},
                     {"size", nullptr},
                     {"expires_at", format_time(ticket.expires_at)}};
    if (file.size) shown["size"] = *file.size;
    answer.push_back(std::move(shown));
  }
  co_await ask.answer(200, to_text(answer));
}

Async<void> Api::upload_file(Ask& ask) {
  const FileInfo file = co_await options_.files->uploads.receive(
      ask.captures.at(0), std::string(ask.target.find("token").value_or("")), ask.request, ask.responder);
  co_await ask.answer(200, to_text(JsonObject{{"id", file.id},
                                              {"filename", file.name},
                                              {"content_type", file.content_type},
                                              {"size", file.size},
                                              {"sha256", file.sha256}}));
}

Async<void> Api::get_file(Ask& ask) {
  FileInfo file = co_await options_.files->calls.find(ask.captures.at(0), ask.caller);
  if (wants_description(ask.request)) {
    co_await ask.answer(200, to_text(JsonObject{{"id", file.id},
                                                {"uri", address_of_server(ask.request) + "/files/" + file.id},
                                                {"filename", file.name},
                                                {"content_type", file.content_type},
                                                {"size", file.size},
                                                {"sha256", file.sha256},
                                                {"created_at", format_time(file.created_at)}}));
    co_return;
  }
  co_await options_.files->send(std::move(file), ask.request, ask.responder);
}

Async<void> Api::delete_file(Ask& ask) {
  const FileInfo file = co_await options_.files->calls.find(ask.captures.at(0), ask.caller);
  co_await options_.files->blocking.run([&] { options_.files->store.remove(file.id); });
  co_await ask.responder.send({.status = 204});
}

}  // namespace sojourn::server
