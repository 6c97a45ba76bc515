#include <ostream>

#include "sojourn/cli/commands.hpp"

namespace sojourn::cli {

ExitCode show_settings(const Settings& settings, Console& console) {
  if (console.json) {
    JsonObject json;
    for (const SettingValue& value : settings.values) {
      json[value.name] = JsonObject{{"value", value.text}, {"source", value.source}};
    }
    print_json(console, json);
    return ExitCode::ok;
  }
  Table table({"SETTING", "VALUE", "FROM"});
  for (const SettingValue& value : settings.values) {
    table.add({{std::string(value.name)}, {value.text.empty() ? "-" : value.text}, {value.source}});
  }
  table.print(console);
  return ExitCode::ok;
}

}  // namespace sojourn::cli
