#include "sojourn/session/lifecycles.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/session/impact_assessment.hpp"

namespace sojourn::session {

namespace {

namespace fs = std::filesystem;
using Moves = std::map<std::string, std::set<std::string>>;

// One file of a lifecycle, read strictly: what it does not know is an error.
class LifecycleReader {
 public:
  LifecycleReader(std::string_view toml, std::string_view where) : where_(where) {
    try {
      root_ = toml::parse(toml, std::string(where));
    } catch (const toml::parse_error& error) {
      throw bad(error.source().begin.line, std::string(error.description()));
    }
    for (const auto& [key, node] : root_) {
      if (key != "stages" && key != "final" && key != "error" && key != "moves") {
        throw bad(node, fmt::format("there is no key '{}'; there are stages, final, error and moves", key.str()));
      }
    }
  }

  Lifecycle read(std::string name) {
    const std::vector<std::string> stages = words(root_, "stages");
    if (stages.empty()) throw bad(root_, "'stages' must name the stages, the first one first");
    stages_.insert(stages.begin(), stages.end());
    Moves moves = read_moves();
    const toml::node* const error = root_.get("error");
    const std::string error_stage = error == nullptr ? "" : word(*error, "error");
    if (error != nullptr) check_known(*error, error_stage);
    check_final(moves);
    try {
      Lifecycle lifecycle(std::move(name), stages.front(), std::move(moves), error_stage);
      for (const std::string& stage : stages) {
        if (!lifecycle.has(stage)) throw bad(root_, fmt::format("no move leads to stage '{}'", stage));
      }
      return lifecycle;
    } catch (const Error& problem) {
      if (problem.code() == ErrorCode::config_invalid) throw;
      throw bad(root_, problem.message());
    }
  }

 private:
  Error bad(toml::source_index line, const std::string& problem) const {
    return Error(ErrorCode::config_invalid, fmt::format("{}:{}: {}", where_, line, problem));
  }
  Error bad(const toml::node& at, const std::string& problem) const {
    return bad(std::max<toml::source_index>(at.source().begin.line, 1), problem);
  }

  std::string word(const toml::node& node, std::string_view key) const {
    const auto* text = node.as_string();
    if (text == nullptr) throw bad(node, fmt::format("'{}' must hold stages, as texts", key));
    return text->get();
  }

  std::vector<std::string> words(const toml::table& table, std::string_view key) const {
    std::vector<std::string> words;
    const toml::node* const node = table.get(key);
    if (node == nullptr) return words;
    const toml::array* const list = node->as_array();
    if (list == nullptr) throw bad(*node, fmt::format("'{}' must be a list of stages", key));
    for (const toml::node& entry : *list) words.push_back(word(entry, key));
    return words;
  }

  void check_known(const toml::node& at, const std::string& stage) const {
    if (!stages_.contains(stage)) throw bad(at, fmt::format("'{}' is not among 'stages'", stage));
  }

  Moves read_moves() const {
    Moves moves;
    const toml::node* const node = root_.get("moves");
    if (node == nullptr) return moves;
    const toml::table* const table = node->as_table();
    if (table == nullptr) throw bad(*node, "'moves' must be a table: from each stage to those that may follow it");
    for (const auto& [from, followers] : *table) {
      check_known(followers, std::string(from.str()));
      std::set<std::string>& next = moves[std::string(from.str())];
      for (std::string& stage : words(*table, from.str())) {
        check_known(followers, stage);
        next.insert(std::move(stage));
      }
    }
    return moves;
  }

  // A stage that nothing follows is final, and has to say so: else a forgotten move would look like an end.
  void check_final(const Moves& moves) const {
    const std::vector<std::string> listed = words(root_, "final");
    const std::set<std::string> final(listed.begin(), listed.end());
    for (const std::string& stage : final) check_known(*root_.get("final"), stage);
    for (const std::string& stage : stages_) {
      const auto next = moves.find(stage);
      const bool ends = next == moves.end() || next->second.empty();
      if (ends && !final.contains(stage)) {
        throw bad(root_, fmt::format("nothing follows stage '{}', and it is not among 'final'", stage));
      }
      if (!ends && final.contains(stage)) {
        throw bad(root_, fmt::format("stage '{}' is among 'final', and has moves", stage));
      }
    }
  }

  std::string where_;
  toml::table root_;
  std::set<std::string> stages_;
};

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) throw Error(ErrorCode::io_error, fmt::format("{} cannot be read", file.string()));
  return text;
}

}  // namespace

Lifecycle parse_lifecycle(std::string name, std::string_view toml, std::string_view where) {
  return LifecycleReader(toml, where).read(std::move(name));
}

Lifecycles::Lifecycles() {
  named_.emplace("impact-assessment", parse_lifecycle("impact-assessment", impact_assessment_toml, "built in"));
}

void Lifecycles::read(const fs::path& folder) {
  std::error_code missing;
  if (!fs::is_directory(folder, missing)) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml") continue;
    const std::string name = entry.path().stem().string();
    named_.insert_or_assign(name, parse_lifecycle(name, read_text(entry.path()), entry.path().string()));
  }
}

std::vector<std::string> Lifecycles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, lifecycle] : named_) names.push_back(name);
  return names;
}

const Lifecycle& Lifecycles::named(std::string_view name) const {
  if (name.empty()) return open_;
  const auto found = named_.find(name);
  if (found != named_.end()) return found->second;
  const std::vector<std::string> known = names();
  throw Error(ErrorCode::invalid_request,
              fmt::format("there is no lifecycle '{}'; there are {}", to_valid_utf8(name.substr(0, 64)),
                          fmt::join(known, ", ")),
              {{"field", "lifecycle"}, {"known", JsonArray(known.begin(), known.end())}});
}

}  // namespace sojourn::session
