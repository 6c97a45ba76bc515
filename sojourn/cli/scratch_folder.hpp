#pragma once

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "sojourn/base/error.hpp"

namespace sojourn::cli {

// A fresh folder, which goes with this. Errors of the constructor: io_error.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::filesystem::path& where = std::filesystem::temp_directory_path(),
                         const std::string& name = "sojourn-app-") {
    std::string made = (where / (name + "XXXXXX")).string();
    if (::mkdtemp(made.data()) == nullptr) throw io_error(made, errno);
    path_ = made;
  }
  ~ScratchFolder() {
    std::error_code ignored;  // nobody looks for what cannot be removed
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace sojourn::cli
