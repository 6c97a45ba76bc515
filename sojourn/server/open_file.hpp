#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "sojourn/base/descriptor.hpp"

// Files and folders by their descriptors, so that a name that is changed meanwhile leads nowhere else.
//
// No name here is ever followed as a link, since those in a session's folder are its worker's to make.
// Everything blocks. Errors: store_read_only, store_full, io_error, as store/durable_file.hpp, where nothing else is
// said.
namespace sojourn::server {

class OpenFile {
 public:
  // A folder or file by its path, which is trusted.
  static OpenFile at(const std::filesystem::path& path, int flags);

  const std::filesystem::path& path() const { return path_; }

  // What is within this folder. Errors: not_found; invalid_request for a link. What is made belongs to whom the
  // folder belongs to, for a session's is its worker's.
  OpenFile open(const std::string& name, int flags) const;
  OpenFile folder(const std::string& name) const;    // makes it where it is missing
  OpenFile new_file(const std::string& name) const;  // Errors: already_exists
  void remove_all(const std::string& name) const;    // a file, or a folder with what is in it
  // Whether `to` was not there yet; if it was, nothing is done. Errors: not_found for `from`.
  bool rename(const std::string& from, const std::string& to) const;

  // Of a file.
  std::uint64_t size() const;
  bool is_plain() const;  // a regular file that has no other name
  void write(std::string_view bytes) const;
  std::string read(std::uint64_t offset, std::size_t most) const;  // "" at the end
  void sync() const;

 private:
  OpenFile belonging(OpenFile made) const;

  OpenFile(Descriptor file, std::filesystem::path path) : file_(std::move(file)), path_(std::move(path)) {}

  Descriptor file_;
  std::filesystem::path path_;  // for messages
};

}  // namespace sojourn::server
