#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// The stages that a session's own work may stand in, and the moves between them that are allowed.
namespace sojourn::session {

class Lifecycle {
 public:
  // Any stage may follow any other: the lifecycle of sessions that declare none.
  static Lifecycle open();

  // Shape:  `first` and all stages named in `moves` (stage -> stages that may follow) are lower-case words. A stage
  //         without moves is final. `error_stage`, if not empty, may follow every stage that is not final.
  // Errors: invalid_request for a name of another shape, or a stage that cannot be reached from `first`.
  Lifecycle(std::string name, std::string first, std::map<std::string, std::set<std::string>> moves,
            std::string error_stage = "");

  const std::string& name() const { return name_; }    // "" for the open one
  const std::string& first() const { return first_; }  // where a session starts
  bool has(std::string_view stage) const { return open_ || moves_.contains(stage); }
  bool is_final(std::string_view stage) const;

  // The stages that may follow `stage`, sorted; empty for a final one and for the open lifecycle, where all may.
  std::vector<std::string> allowed_after(std::string_view stage) const;

  // Errors: stage_not_allowed (details: "from", "to", "allowed"); invalid_request for a name of another shape.
  void check(std::string_view from, std::string_view to) const;

 private:
  Lifecycle() = default;

  bool open_ = false;
  std::string name_;
  std::string first_;
  std::map<std::string, std::set<std::string>, std::less<>> moves_;
};

}  // namespace sojourn::session
