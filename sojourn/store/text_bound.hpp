#pragma once

#include <cstddef>

#include "sojourn/store/record.hpp"

namespace sojourn::store {

// Counts the text of what is read into memory, and says what is still within the bound.
class TextBound {
 public:
  explicit TextBound(std::size_t most_bytes) : left_(most_bytes) {}

  bool admits(const TaskRecord& task) { return take(task.input.size() + task.output.size() + task.error.size()); }
  bool admits(const StepRecord& step) { return take(sizeof step + step.name.size() + step.error.size()); }
  bool admits(const Event& event) { return take(event.body.size()); }

 private:
  bool take(std::size_t bytes) {
    const bool fits = bytes <= left_;
    left_ = fits ? left_ - bytes : 0;
    return fits;
  }

  std::size_t left_;
};

}  // namespace sojourn::store
