#include "sojourn/store/tar.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "sojourn/base/error.hpp"

namespace sojourn::store::tar {

namespace {

constexpr std::size_t name_bytes = 100;
constexpr std::uint64_t most_bytes = std::uint64_t{8} << 30;  // eleven octal digits
constexpr std::size_t longest_name = 64 * 1024;
constexpr std::string_view long_name = "././@PaxHeader";

constexpr char plain = '0';
constexpr char extended = 'x';

void put(std::string& block, std::size_t place, std::string_view text) {
  block.replace(place, text.size(), text);
}

std::string ustar(std::string_view name, std::uint64_t size, char type) {
  std::string block(block_bytes, '\0');
  put(block, 0, name);
  put(block, 100, "0000644");
  put(block, 108, "0000000");
  put(block, 116, "0000000");
  put(block, 124, fmt::format("{:011o}", size));
  put(block, 136, "00000000000");
  put(block, 148, "        ");  // the sum is taken over blanks in its place
  block[156] = type;
  put(block, 257, std::string_view("ustar\00000", 8));
  const auto sum = std::accumulate(block.begin(), block.end(), 0u,
                                   [](unsigned so_far, char c) { return so_far + static_cast<unsigned char>(c); });
  put(block, 148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return block;
}

// "LENGTH path=NAME\n", where the length counts its own digits too.
std::string path_record(std::string_view name) {
  const std::string rest = fmt::format(" path={}\n", name);
  std::size_t length = rest.size() + 1;
  while (rest.size() + std::to_string(length).size() != length) ++length;
  return std::to_string(length) + rest;
}

std::uint64_t size_in(std::string_view block) {
  std::uint64_t size = 0;
  const char* const begin = block.data() + 124;
  const auto [stop, error] = std::from_chars(begin, begin + 11, size, 8);
  return error == std::errc() && stop == begin + 11 ? size : most_bytes;
}

std::string_view name_in(std::string_view block) {
  const std::string_view field = block.substr(0, name_bytes);
  return field.substr(0, field.find('\0'));
}

std::string_view name_in_record(std::string_view record) {
  const std::size_t start = record.find('=');
  return start == std::string_view::npos || record.size() < start + 2
             ? std::string_view()
             : record.substr(start + 1, record.size() - start - 2);
}

}  // namespace

std::string head(std::string_view name, std::uint64_t size) {
  if (name.empty() || name.size() > longest_name || name.find('\0') != std::string_view::npos ||
      name.find('\n') != std::string_view::npos) {
    throw Error(ErrorCode::invalid_request, "a name in an archive has 1 byte to 64 KiB without NUL and line feed");
  }
  if (size >= most_bytes) throw Error(ErrorCode::invalid_request, "a file in an archive has less than 8 GiB");
  if (name.size() <= name_bytes) return ustar(name, size, plain);
  const std::string record = path_record(name);
  return ustar(long_name, record.size(), extended) + record + padding(record.size()) +
         ustar(name.substr(0, name_bytes), size, plain);
}

std::string padding(std::uint64_t size) {
  return std::string((block_bytes - size % block_bytes) % block_bytes, '\0');
}

std::string end() {
  return std::string(2 * block_bytes, '\0');
}

void Reader::refuse(std::string_view what) const {
  throw Error(ErrorCode::invalid_request, fmt::format("the archive was altered before byte {}: {}", offset_, what));
}

std::string Reader::take(std::uint64_t size) {
  std::string bytes(size, '\0');
  const std::size_t got = source_(bytes.data(), bytes.size());
  offset_ += got;
  if (got < bytes.size()) refuse("it is cut off");
  return bytes;
}

std::optional<Reader::Member> Reader::next() {
  if (rest_ > 0) refuse("the content before was not read");
  if (take(padding_) != std::string(padding_, '\0')) refuse("there is something between its files");
  padding_ = 0;
  std::string found = take(block_bytes);
  if (found == std::string(block_bytes, '\0')) {
    found += take(block_bytes);
    char more = 0;
    if (found != end() || source_(&more, 1) != 0) refuse("there is something after its end");
    return std::nullopt;
  }
  std::string name(name_in(found));
  if (name == long_name) {
    const std::uint64_t size = size_in(found);
    if (size > longest_name + 16) refuse("a name is too long");
    found += take(size);
    name = name_in_record(std::string_view(found).substr(block_bytes));
    found += take(padding(size).size()) + take(block_bytes);
  }
  const std::uint64_t size = size_in(std::string_view(found).substr(found.size() - block_bytes));
  if (name.empty() || size >= most_bytes || found != head(name, size))
    refuse("a file's head is not as it was written");
  rest_ = size;
  padding_ = padding(size).size();
  return Member{std::move(name), size};
}

std::string Reader::read(std::size_t most) {
  std::string piece = take(std::min<std::uint64_t>(most, rest_));
  rest_ -= piece.size();
  return piece;
}

}  // namespace sojourn::store::tar
