#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/random.hpp"
#include "sojourn/base/sha256.hpp"

// Who may call the server, and what for: named keys in a file that holds only their hashes.
//
// A key is 256 random bits, so a plain SHA-256 hides it: there is nothing to guess that salt or a slow hash would
// guard. The file is read once; a server takes up a changed file when it starts again.
namespace sojourn::server {

enum class Scope : std::uint8_t {
  apps_read = 1,     // "apps:read": look at apps, sessions and calls
  apps_execute = 2,  // "apps:execute": run, cancel, keep alive, end
  admin = 4,         // "admin": everything
};

std::string_view to_string(Scope scope);

// Errors: invalid_request, naming the scopes that there are.
Scope parse_scope(std::string_view text);

class Scopes {
 public:
  Scopes() = default;
  Scopes(std::initializer_list<Scope> scopes) {
    for (const Scope scope : scopes) add(scope);
  }

  void add(Scope scope) { bits_ |= static_cast<std::uint8_t>(scope); }

  // Whether `scope` is among them; admin holds every other.
  bool allow(Scope scope) const;

  bool empty() const { return bits_ == 0; }
  std::vector<std::string_view> names() const;
  bool operator==(const Scopes&) const = default;

 private:
  std::uint8_t bits_ = 0;
};

// Whoever showed a valid key. The name is the actor in the journal.
struct Caller {
  std::string name;
  Scopes scopes;
};

// Threads: find() is safe.
class ApiKeys {
 public:
  // Reads a key file.
  // Shape:  TOML, docs/reference/settings.md; names, hashes and so keys are each there once; at least one key.
  // Errors: config_invalid, naming file and line; also when others than the owner may read or write the file.
  static ApiKeys read(const std::filesystem::path& file);

  // The caller whose key `authorization` shows, the value of an Authorization header: "Bearer KEY".
  // Cost: one SHA-256 and one comparison in constant time with each key, whichever fits.
  std::optional<Caller> find(std::string_view authorization) const;

  bool has_name(std::string_view name) const;

 private:
  struct Key {
    Hash hash;
    Caller caller;
  };
  static ApiKeys parse(const std::filesystem::path& file, std::string_view text);
  friend void add_key(const std::filesystem::path&, std::string_view, Scopes, std::string_view);

  std::vector<Key> keys_;
};

// Draws a key: "sjn_" and 43 characters of URL-safe base64, 32 random bytes.
std::string new_key(Random& random);

// Adds `key` to `file`, by its hash; makes the file, readable by its owner only, where there is none.
// Shape:   `name` is 1 to 64 letters, digits and ". _ - @"; not one of the journal's own actors (local, server, app).
// Errors:  invalid_request for the name or empty scopes, already_exists for a name that the file has, io_error,
//          those of ApiKeys::read. The file is then as it was.
// Durable: when it returns; the file is replaced in one step.
// Not safe against another add_key on the same file at the same time: one of the two keys may be lost.
void add_key(const std::filesystem::path& file, std::string_view name, Scopes scopes, std::string_view key);

}  // namespace sojourn::server
