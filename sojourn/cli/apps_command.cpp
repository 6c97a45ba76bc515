#include <ostream>

#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/remote.hpp"

namespace sojourn::cli {

namespace {

std::string function_names(const Json& app) {
  const JsonObject* fields = app.if_object();
  const Json* functions = fields != nullptr ? fields->if_contains("functions") : nullptr;
  if (functions == nullptr || !functions->is_array()) return "";
  std::string names;
  for (const Json& function : functions->get_array()) {
    const std::string name = function.is_string() ? std::string(function.get_string()) : field(function, "name");
    names.append(names.empty() ? "" : ", ").append(name);
  }
  return names;
}

}  // namespace

ExitCode list_apps(const Settings& settings, Console& console) {
  const JsonArray apps = Remote(settings).with([](client::Client& client) { return client.apps(); });
  if (console.json) {
    print_json(console, apps);
    return ExitCode::ok;
  }
  if (apps.empty()) {
    console.err << "The server has no apps; sojourn serve --apps DIR names their folder.\n";
    return ExitCode::ok;
  }
  Table table({"APP", "VERSION", "FUNCTIONS", "DESCRIPTION"});
  for (const Json& app : apps) {
    table.add({{field(app, "name")}, {field(app, "version")}, {function_names(app)}, {field(app, "description")}});
  }
  table.print(console);
  return ExitCode::ok;
}

}  // namespace sojourn::cli
