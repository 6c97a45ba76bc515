#include "sojourn/server/api_keys.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::server {

namespace {

constexpr std::array all_scopes{Scope::apps_read, Scope::apps_execute, Scope::admin};
constexpr std::size_t max_file_bytes = limits::mebibyte;
constexpr std::size_t max_name_bytes = 64;

Error invalid(const std::filesystem::path& file, const toml::source_region& place, std::string_view problem) {
  return Error(ErrorCode::config_invalid, fmt::format("{}:{}: {}", file.string(), place.begin.line, problem));
}

// Looks at the mode of the very file it reads, so that exchanging the file in between helps nobody.
std::string read_private(const std::filesystem::path& file) {
  const auto refuse = [&](std::string_view problem) {
    return Error(ErrorCode::config_invalid, fmt::format("key file {}: {}", file.string(), problem));
  };
  const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status = {};
  if (!descriptor || ::fstat(descriptor.get(), &status) != 0) throw refuse(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw refuse("it is no regular file");
  if ((status.st_mode & 077) != 0) {
    throw refuse(fmt::format("its mode {:o} lets others than its owner at it; run: chmod 600 {}",
                             status.st_mode & 07777, file.string()));
  }
  std::string text(max_file_bytes + 1, '\0');
  const std::optional<std::size_t> size = read_up_to(descriptor.get(), text);
  if (!size) throw refuse(std::strerror(errno));
  if (*size > max_file_bytes) throw refuse(fmt::format("it is larger than {} bytes", max_file_bytes));
  text.resize(*size);
  return text;
}

std::string_view problem_of_name(std::string_view name) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
  if (name.empty() || name.size() > max_name_bytes || name.find_first_not_of(allowed) != std::string_view::npos) {
    return "a key's name is 1 to 64 letters, digits and . _ - @";
  }
  if (name == "local" || name == "server" || name == "app") {
    return "the names local, server and app stand for Sojourn itself in the journal; choose another";
  }
  return {};
}

const toml::node& required(const std::filesystem::path& file, const toml::table& key, std::string_view field) {
  const toml::node* node = key.get(field);
  if (node == nullptr) throw invalid(file, key.source(), fmt::format("this [[key]] has no '{}'", field));
  return *node;
}

std::string text_of(const std::filesystem::path& file, const toml::table& key, std::string_view field) {
  const toml::node& node = required(file, key, field);
  if (!node.is_string()) throw invalid(file, node.source(), fmt::format("'{}' is not a text", field));
  return node.as_string()->get();
}

Hash hash_of(const std::filesystem::path& file, const toml::table& key) {
  const std::string hex = text_of(file, key, "hash");
  try {
    return hash_from_hex(hex);
  } catch (const Error& error) {
    throw invalid(file, key.get("hash")->source(),
                  fmt::format("'hash' is the SHA-256 of a key: {}", error.message()));
  }
}

Scopes scopes_of(const std::filesystem::path& file, const toml::table& key) {
  const toml::node& node = required(file, key, "scopes");
  const toml::array* array = node.as_array();
  if (array == nullptr || array->empty()) throw invalid(file, node.source(), "'scopes' is a list of one or more");
  Scopes scopes;
  for (const toml::node& element : *array) {
    if (!element.is_string()) throw invalid(file, element.source(), "a scope is a text");
    try {
      scopes.add(parse_scope(element.as_string()->get()));
    } catch (const Error& error) {
      throw invalid(file, element.source(), error.message());
    }
  }
  return scopes;
}

// The [[key]] tables, or null where there are none.
const toml::array* key_tables(const std::filesystem::path& file, const toml::table& root) {
  for (const auto& [name, node] : root) {
    if (name != "key" || !node.is_array()) {
      throw invalid(file, node.source(), fmt::format("only [[key]] may stand here, not '{}'", name.str()));
    }
  }
  return root["key"].as_array();
}

// Writes beside `file`, then takes its place, so that a reader and a power cut find the old text or the new one.
void replace_private(const std::filesystem::path& given, std::string_view text) {
  const std::filesystem::path file =
      std::filesystem::weakly_canonical(std::filesystem::absolute(given));  // a link stays a link
  std::string beside = file.string() + ".XXXXXX";
  const Descriptor descriptor(::mkostemp(beside.data(), O_CLOEXEC));  // mode 600
  if (!descriptor) throw io_error(beside, errno);
  try {
    // Root may add a key to the file of a service's user, who must still be able to read it.
    struct stat before = {};
    const bool replaces = ::stat(file.c_str(), &before) == 0;
    if (replaces && ::fchown(descriptor.get(), before.st_uid, before.st_gid) != 0) throw io_error(beside, errno);
    if (write_all(descriptor.get(), text) < text.size()) throw io_error(beside, errno);
    if (::fsync(descriptor.get()) != 0) throw io_error(beside, errno);
    if (::rename(beside.c_str(), file.c_str()) != 0) throw io_error(file.string(), errno);
  } catch (const Error&) {
    ::unlink(beside.c_str());
    throw;
  }
  const std::filesystem::path folder = file.parent_path();
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened || ::fsync(opened.get()) != 0) throw io_error(folder.string(), errno);
}

}  // namespace

std::string_view to_string(Scope scope) {
  switch (scope) {
    case Scope::apps_read:
      return "apps:read";
    case Scope::apps_execute:
      return "apps:execute";
    case Scope::admin:
      return "admin";
  }
  return "";
}

Scope parse_scope(std::string_view text) {
  for (const Scope scope : all_scopes) {
    if (to_string(scope) == text) return scope;
  }
  throw Error(ErrorCode::invalid_request,
              fmt::format("there is no scope '{}'; the scopes are apps:read, apps:execute and admin", text));
}

bool Scopes::allow(Scope scope) const {
  return (bits_ & (static_cast<std::uint8_t>(scope) | static_cast<std::uint8_t>(Scope::admin))) != 0;
}

std::vector<std::string_view> Scopes::names() const {
  std::vector<std::string_view> names;
  for (const Scope scope : all_scopes) {
    if ((bits_ & static_cast<std::uint8_t>(scope)) != 0) names.push_back(to_string(scope));
  }
  return names;
}

ApiKeys ApiKeys::read(const std::filesystem::path& file) {
  ApiKeys keys = parse(file, read_private(file));
  if (keys.keys_.empty()) {
    throw Error(ErrorCode::config_invalid,
                fmt::format("{}:1: there is no [[key]]; run: sojourn keys create NAME --scope "
                            "apps:execute --file {}",
                            file.string(), file.string()));
  }
  return keys;
}

ApiKeys ApiKeys::parse(const std::filesystem::path& file, std::string_view text) {
  toml::table root;
  try {
    root = toml::parse(text, file.string());
  } catch (const toml::parse_error& error) {
    throw invalid(file, error.source(), error.description());
  }
  ApiKeys keys;
  const toml::array* tables = key_tables(file, root);
  if (tables == nullptr) return keys;
  for (const toml::node& node : *tables) {
    const toml::table* table = node.as_table();
    if (table == nullptr) throw invalid(file, node.source(), "'key' is a list of tables: write [[key]]");
    for (const auto& [field, value] : *table) {
      if (field == "name" || field == "hash" || field == "scopes") continue;
      throw invalid(file, value.source(), fmt::format("a key has name, hash and scopes, not '{}'", field.str()));
    }
    Key key{.hash = hash_of(file, *table),
            .caller = {.name = text_of(file, *table, "name"), .scopes = scopes_of(file, *table)}};
    const std::string_view problem = problem_of_name(key.caller.name);
    if (!problem.empty()) throw invalid(file, table->get("name")->source(), problem);
    for (const Key& earlier : keys.keys_) {
      if (earlier.caller.name == key.caller.name || earlier.hash == key.hash) {
        throw invalid(file, table->source(), fmt::format("'{}' has this name or key already", earlier.caller.name));
      }
    }
    keys.keys_.push_back(std::move(key));
  }
  return keys;
}

bool ApiKeys::has_name(std::string_view name) const {
  return std::ranges::any_of(keys_, [&](const Key& key) { return key.caller.name == name; });
}

std::optional<Caller> ApiKeys::find(std::string_view authorization) const {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size()) return std::nullopt;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (!std::ranges::equal(authorization.substr(0, scheme.size()), scheme, {}, lower)) return std::nullopt;
  authorization.remove_prefix(scheme.size());
  const Hash shown = sha256(authorization);

  const Key* found = nullptr;
  for (const Key& key : keys_) {
    if (CRYPTO_memcmp(key.hash.data(), shown.data(), shown.size()) == 0) found = &key;
  }
  if (found == nullptr) return std::nullopt;
  return found->caller;
}

std::string new_key(Random& random) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<std::uint8_t, 33> bytes{};  // the last one pads the last group of three
  random.fill(std::span(bytes).first(32));
  std::string key = "sjn_";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const unsigned group = bytes[i] * 0x10000u + bytes[i + 1] * 0x100u + bytes[i + 2];
    for (const int shift : {18, 12, 6, 0}) key += digits[(group >> shift) & 63];
  }
  key.pop_back();  // the padding's digit
  return key;
}

void add_key(const std::filesystem::path& file, std::string_view name, Scopes scopes, std::string_view key) {
  const std::string_view problem = problem_of_name(name);
  if (!problem.empty()) throw Error(ErrorCode::invalid_request, std::string(problem));
  if (scopes.empty()) throw Error(ErrorCode::invalid_request, "a key needs at least one scope");

  std::string text;
  if (std::filesystem::exists(file)) {
    text = read_private(file);
    if (ApiKeys::parse(file, text).has_name(name)) {
      throw Error(ErrorCode::already_exists, fmt::format("{} has a key named '{}' already", file.string(), name));
    }
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    if (!text.empty()) text += '\n';
  }
  text += fmt::format("[[key]]\nname = \"{}\"\nhash = \"{}\"\nscopes = [\"{}\"]\n", name, to_hex(sha256(key)),
                      fmt::join(scopes.names(), "\", \""));
  replace_private(file, text);
}

}  // namespace sojourn::server
