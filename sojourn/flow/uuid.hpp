#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sojourn/base/random.hpp"

// The UUIDs that saved flows are read by: one drawn for each session, from which those of its calls follow, so that a
// call needs no more than its number.
namespace sojourn::flow {

class Uuid {
 public:
  static Uuid draw(Random& random);

  // What the id is of. The same session, kind and number make the same id.
  enum class Kind : std::uint64_t { node = 1, request, event };
  std::string of(Kind kind, std::uint64_t number) const;
  void append_to(std::string& out, Kind kind, std::uint64_t number) const;

  std::string text() const;
  void append_to(std::string& out) const;

 private:
  Uuid(std::uint64_t high, std::uint64_t low) : high_(high), low_(low) {}

  std::uint64_t high_;
  std::uint64_t low_;
};

}  // namespace sojourn::flow
