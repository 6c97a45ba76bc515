#include <fmt/format.h>

#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/remote.hpp"

namespace sojourn::cli {

namespace {

void check_id(const std::string& id) {
  if (id.empty()) throw Error(ErrorCode::config_invalid, "the session's id is empty");
}

// "2026-11-21T09:30:00.123456Z" without its fraction.
std::string seconds_of(std::string time) {
  const auto dot = time.find('.');
  if (dot != std::string::npos && time.ends_with('Z')) time.replace(dot, std::string::npos, "Z");
  return time;
}

Cell status_cell(const Json& session) {
  const std::string status = field(session, "status");
  const Colour colour = status == "active"                         ? Colour::green
                        : status == "failed"                       ? Colour::red
                        : status == "ended" || status == "expired" ? Colour::yellow
                                                                   : Colour::none;
  return {status, colour};
}

Json json_option(std::string_view option, const std::string& text) {
  try {
    return parse_json(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::config_invalid, fmt::format("{} is no JSON: {}", option, error.message()));
  }
}

std::map<std::string, std::string> read_labels(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> labels;
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(ErrorCode::config_invalid, fmt::format("--label '{}' must be NAME=VALUE", to_valid_utf8(text)));
    }
    labels[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return labels;
}

void print_session(const Json& session, Console& console) {
  if (console.json || !session.is_object()) {
    print_json(console, session);
    return;
  }
  Table table({"", ""});
  for (const auto& [name, value] : session.get_object()) {
    if (value.is_null()) continue;
    const std::string shown(name);
    table.add({{shown, Colour::bold}, name == "status" ? status_cell(session) : Cell{field(session, shown)}});
  }
  table.print(console);
}

}  // namespace

ExitCode list_sessions(const ListOptions& options, const Settings& settings, Console& console) {
  const client::SessionQuery query{.status = options.status,
                                   .app = options.app,
                                   .user_id = options.user,
                                   .stage = options.stage,
                                   .labels = read_labels(options.labels),
                                   .id = options.id,
                                   .created_from = options.from,
                                   .created_before = options.before,
                                   .limit = options.limit};
  const auto [sessions, has_more] =
      Remote(settings).with([&](client::Client& client) { return client.sessions(query); });
  if (console.json) {
    print_json(console, sessions);
    return ExitCode::ok;
  }
  if (sessions.empty()) {
    console.err << "There are no such sessions; sojourn run APP --session new starts one.\n";
    return ExitCode::ok;
  }
  Table table({"SESSION", "APP", "STATUS", "CALLS", "CREATED", "LAST CALL"});
  for (const Json& session : sessions) {
    table.add({{field(session, "id")},
               {field(session, "app_id")},
               status_cell(session),
               {field(session, "call_count")},
               {seconds_of(field(session, "created_at"))},
               {seconds_of(field(session, "last_call_at"))}});
  }
  table.print(console);
  if (has_more) console.err << fmt::format("There are more than {}; --limit shows more.\n", sessions.size());
  return ExitCode::ok;
}

ExitCode create_session(const NewSessionOptions& options, const Settings& settings, Console& console) {
  JsonObject request;
  if (!options.app.empty()) request["app"] = options.app;
  if (!options.setup.empty()) request["setup"] = json_option("--setup", options.setup);
  if (!options.user.empty()) request["user_id"] = options.user;
  if (!options.lifecycle.empty()) request["lifecycle"] = options.lifecycle;
  JsonObject labels;
  for (const auto& [name, value] : read_labels(options.labels)) labels[name] = value;
  if (!labels.empty()) request["labels"] = std::move(labels);
  if (options.session_timeout) request["session_timeout"] = *options.session_timeout;
  if (options.warm) {
    request["warm"] = true;
    request["wait"] = true;
  }
  const client::Question question{.method = http::Method::post, .target = "/sessions", .body = to_text(request)};
  const Json session = Remote(settings).with([&](client::Client& client) { return client.ask(question); }).value;
  if (console.json) {
    print_session(session, console);
  } else {
    console.out << printable(field(session, "id")) << '\n';
  }
  return ExitCode::ok;
}

ExitCode show_session(const std::string& id, const Settings& settings, Console& console) {
  check_id(id);
  print_session(Remote(settings).with([&](client::Client& client) { return client.attach(id).info(); }), console);
  return ExitCode::ok;
}

ExitCode end_session(const std::string& id, const Settings& settings, Console& console) {
  check_id(id);
  // One that is over already is an error here: whoever names it should hear of it.
  Remote(settings).with([&](client::Client& client) {
    return client.ask({.method = http::Method::del, .target = "/sessions/" + client::path_segment(id)});
  });
  if (console.json) {
    print_json(console, JsonObject{{"id", id}, {"status", "ended"}});
  } else {
    console.out << "ended " << printable(id) << '\n';
  }
  return ExitCode::ok;
}

ExitCode keep_session_alive(const std::string& id, const Settings& settings, Console& console) {
  check_id(id);
  const Json session = Remote(settings).with([&](client::Client& client) { return client.attach(id).keepalive(); });
  if (console.json) {
    print_session(session, console);
    return ExitCode::ok;
  }
  const std::string expires = field(session, "expires_at");
  console.out << "kept " << printable(id) << (expires.empty() ? "" : " until " + printable(expires)) << '\n';
  return ExitCode::ok;
}

}  // namespace sojourn::cli
