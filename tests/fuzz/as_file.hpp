#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "expect.hpp"

// Input for what reads files: one private file in a folder of its own, written anew for each input.
class AsFile {
 public:
  explicit AsFile(std::string name) {
    std::string made = (std::filesystem::temp_directory_path() / "sojourn-fuzz-XXXXXX").string();
    expect(::mkdtemp(made.data()) != nullptr, "there is a folder for the input");
    folder_ = made;
    file_ = folder_ / std::move(name);
  }
  ~AsFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  AsFile(const AsFile&) = delete;
  AsFile& operator=(const AsFile&) = delete;

  void write(const std::uint8_t* data, std::size_t size) const {
    const int descriptor = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    expect(descriptor >= 0 && ::write(descriptor, data, size) == static_cast<ssize_t>(size), "the input is a file");
    ::close(descriptor);
  }

  const std::filesystem::path& folder() const { return folder_; }
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path folder_;
  std::filesystem::path file_;
};
