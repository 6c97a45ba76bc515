#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/session/lifecycle.hpp"

// The lifecycles that a session may be created with, by name; each is a file (docs/formats/lifecycle.md).
namespace sojourn::session {

// Reads one. Shape: `where` names the text in messages, such as a file's path.
// Errors:  config_invalid, naming place and problem.
Lifecycle parse_lifecycle(std::string name, std::string_view toml, std::string_view where);

// Threads: none; the owner keeps calls apart.
class Lifecycles {
 public:
  Lifecycles();  // with "impact-assessment", the machine of seed 001

  // Adds those of NAME.toml in `folder`; one of a name that is there already takes its place.
  // Errors: config_invalid, io_error. A folder that does not exist holds none.
  void read(const std::filesystem::path& folder);

  std::vector<std::string> names() const;

  // The one of that name; the open one for "". Errors: invalid_request (details: "field", "known").
  const Lifecycle& named(std::string_view name) const;

 private:
  Lifecycle open_ = Lifecycle::open();
  std::map<std::string, Lifecycle, std::less<>> named_;
};

}  // namespace sojourn::session
