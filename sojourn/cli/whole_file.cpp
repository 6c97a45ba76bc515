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
      file_(::open(fresh_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {
  if (!file_) refuse("make", errno);
}

WholeFile::~WholeFile() {
  ::unlink(fresh_.c_str());
}

void WholeFile::write(std::string_view piece) {
  if (write_all(file_.get(), piece) < piece.size()) refuse("write", errno);
}

void WholeFile::commit() {
  if (::fsync(file_.get()) != 0) refuse("sync", errno);
  if (::rename(fresh_.c_str(), path_.c_str()) != 0) refuse("make", errno);
  store::sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void WholeFile::refuse(std::string_view verb, int reason) const {
  throw io_error(fmt::format("cannot {} '{}'", verb, path_.string()), reason);
}

}  // namespace sojourn::cli
