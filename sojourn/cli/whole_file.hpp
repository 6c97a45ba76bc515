#pragma once

#include <filesystem>
#include <string_view>

#include "sojourn/base/descriptor.hpp"

namespace sojourn::cli {

// A file that gets its name when it is whole and on the disk, and leaves nothing before. Errors: io_error.
class WholeFile {
 public:
  explicit WholeFile(std::filesystem::path path);
  ~WholeFile();
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  void write(std::string_view piece);
  void commit();  // Durable: when it returns

 private:
  [[noreturn]] void refuse(std::string_view verb, int reason) const;

  std::filesystem::path path_;
  std::filesystem::path fresh_;
  Descriptor file_;
};

}  // namespace sojourn::cli
