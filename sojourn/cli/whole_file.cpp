#include "sojourn/cli/whole_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/store/durable_file.hpp"

namespace sojourn::cli {

WholeFile::WholeFile(std::filesystem::path path)
    : path_(std::move(path)),
      fresh_(fmt::format("{}.{}.part", path_.string(), ::getpid())),
      number_(::open(fresh_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {
  if (number_ < 0) refuse("make", errno);
}

WholeFile::~WholeFile() {
  ::close(number_);
  ::unlink(fresh_.c_str());
}

void WholeFile::write(std::string_view piece) {
  while (!piece.empty()) {
    const ::ssize_t written = ::write(number_, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse("write", errno);
    piece.remove_prefix(static_cast<std::size_t>(written));
  }
}

void WholeFile::commit() {
  if (::fsync(number_) != 0) refuse("sync", errno);
  if (::rename(fresh_.c_str(), path_.c_str()) != 0) refuse("make", errno);
  store::sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void WholeFile::refuse(std::string_view verb, int reason) const {
  throw io_error(fmt::format("cannot {} '{}'", verb, path_.string()), reason);
}

}  // namespace sojourn::cli
