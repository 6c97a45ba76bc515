#pragma once

#include <unistd.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace sojourn {

// The one owner of an open file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

  int release() { return std::exchange(number_, -1); }
  void reset(int number = -1) {
    if (number_ >= 0) ::close(number_);
    number_ = number;
  }

 private:
  int number_ = -1;
};

// Writes `bytes` to an open descriptor, in as many pieces as it takes them.
// Returns how many were written. Errors: fewer than all, and `errno` says why the next was refused.
std::size_t write_all(int file, std::string_view bytes);

// Fills `buffer` from an open descriptor, in as many pieces as it gives them.
// Returns how many were read: fewer than fit at its end only. Errors: nothing, and `errno` says why.
std::optional<std::size_t> read_up_to(int file, std::span<char> buffer);

}  // namespace sojourn
