#pragma once

#include <string>
#include <string_view>

#include "sojourn/base/json.hpp"
#include "sojourn/cli/settings.hpp"
#include "sojourn/client/client.hpp"

// The server that a command talks to. Nothing is asked twice: who is at the command line sees what went wrong.
namespace sojourn::cli {

class Remote {
 public:
  explicit Remote(const Settings& settings);

  // What `use` does with the client, with failures told as a person at the command line needs them.
  // Errors: those of the client.
  template <class F>
  auto with(F use) {
    try {
      return use(client_);
    } catch (const Error& error) {
      throw_told(error);
    }
  }

 private:
  [[noreturn]] void throw_told(const Error& error) const;

  const Settings& settings_;
  client::Client client_;
};

// The field of `object` as people read it: texts as they are, other values as JSON, "" for null, for a missing field
// and for what is no object at all.
std::string field(const Json& object, std::string_view name);

}  // namespace sojourn::cli
