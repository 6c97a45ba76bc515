#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

// Archives that `tar` reads: POSIX ustar, with a pax record for a name of more than 100 bytes.
//
// For a name and a content there is exactly one spelling here (owner 0, mode 0644, time 0), and a reader takes no
// other, so that each changed byte shows. That is why no library writes them: none promises one spelling.
namespace sojourn::store::tar {

constexpr std::size_t block_bytes = 512;

// What stands before a member's content, what after it, and what at the end of all.
// Errors: invalid_request for a name that is empty or has a NUL or a line feed, and for 8 GiB or more.
std::string head(std::string_view name, std::uint64_t size);
std::string padding(std::uint64_t size);
std::string end();

// Reads an archive from the beginning, piece by piece.
// Errors: invalid_request where it is not as head(), padding() and end() would have written it, or is cut off.
class Reader {
 public:
  // Fills the buffer as far as there is something; returns the number of bytes, fewer only at the end.
  using Source = std::function<std::size_t(char* buffer, std::size_t size)>;

  explicit Reader(Source source) : source_(std::move(source)) {}

  struct Member {
    std::string name;
    std::uint64_t size = 0;
  };

  // The next member, whose content must then be read to its end; nothing at the end of the archive, after which the
  // source holds nothing.
  std::optional<Member> next();

  // At most `most` bytes of the content; "" at its end.
  std::string read(std::size_t most);

 private:
  std::string take(std::uint64_t size);
  [[noreturn]] void refuse(std::string_view what) const;

  Source source_;
  std::uint64_t offset_ = 0;
  std::uint64_t rest_ = 0;     // of the content
  std::uint64_t padding_ = 0;  // after it
};

}  // namespace sojourn::store::tar
