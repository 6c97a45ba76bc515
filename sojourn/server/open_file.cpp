#include "sojourn/server/open_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sojourn/base/error.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::server {

namespace {

Error missing(std::string_view name) {
  return Error(ErrorCode::not_found, fmt::format("there is no file or folder {}", to_valid_utf8(name)));
}

}  // namespace

OpenFile OpenFile::at(const std::filesystem::path& path, int flags) {
  Descriptor file(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) throw store::file_refused("open", path, errno);
  return {std::move(file), path};
}

OpenFile OpenFile::open(const std::string& name, int flags) const {
  const std::filesystem::path path = path_ / name;
  Descriptor file(::openat(file_.get(), name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644));
  if (file) return {std::move(file), path};
  switch (errno) {
    case ENOTDIR:
      throw Error(ErrorCode::invalid_request, fmt::format("{} is no folder", to_valid_utf8(name)));
    case ENOENT:
      throw missing(name);
    case ELOOP:
    case ENXIO:  // a socket or a pipe
      throw Error(ErrorCode::invalid_request,
                  fmt::format("{} is no file but a link, pipe or socket", to_valid_utf8(name)));
    case EEXIST:
      throw Error(ErrorCode::already_exists, fmt::format("{} is there already", to_valid_utf8(name)));
    default:
      throw store::file_refused("open", path, errno);
  }
}

OpenFile OpenFile::folder(const std::string& name) const {
  if (::mkdirat(file_.get(), name.c_str(), 0777) == 0) {
    sync();
    return belonging(open(name, O_RDONLY | O_DIRECTORY));
  }
  if (errno != EEXIST) throw store::file_refused("make", path_ / name, errno);
  return open(name, O_RDONLY | O_DIRECTORY);
}

OpenFile OpenFile::new_file(const std::string& name) const {
  return belonging(open(name, O_WRONLY | O_CREAT | O_EXCL));
}

OpenFile OpenFile::belonging(OpenFile made) const {
  struct stat folder{};
  struct stat found{};
  if (::fstat(file_.get(), &folder) != 0 || ::fstat(made.file_.get(), &found) != 0) {
    throw store::file_refused("read", made.path_, errno);
  }
  if (folder.st_uid != found.st_uid && ::fchown(made.file_.get(), folder.st_uid, folder.st_gid) != 0) {
    throw store::file_refused("give away", made.path_, errno);
  }
  return made;
}

void OpenFile::remove_all(const std::string& name) const {
  std::error_code error;
  std::filesystem::remove_all(fmt::format("/proc/self/fd/{}/{}", file_.get(), name), error);
  if (error) throw store::file_refused("remove", path_ / name, error.value());
}

bool OpenFile::rename(const std::string& from, const std::string& to) const {
  if (::renameat2(file_.get(), from.c_str(), file_.get(), to.c_str(), RENAME_NOREPLACE) == 0) {
    sync();
    return true;
  }
  if (errno == EEXIST) return false;
  if (errno == ENOENT) throw missing(from);
  throw store::file_refused("replace", path_ / to, errno);
}

std::uint64_t OpenFile::size() const {
  struct stat found{};
  if (::fstat(file_.get(), &found) != 0) throw store::file_refused("read", path_, errno);
  return static_cast<std::uint64_t>(found.st_size);
}

bool OpenFile::is_plain() const {
  struct stat found{};
  if (::fstat(file_.get(), &found) != 0) throw store::file_refused("read", path_, errno);
  return S_ISREG(found.st_mode) && found.st_nlink == 1;
}

void OpenFile::write(std::string_view bytes) const {
  if (write_all(file_.get(), bytes) < bytes.size()) throw store::file_refused("write", path_, errno);
}

std::string OpenFile::read(std::uint64_t offset, std::size_t most) const {
  std::string bytes(most, '\0');
  for (;;) {
    const ::ssize_t count = ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<::off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw store::file_refused("read", path_, errno);
    bytes.resize(static_cast<std::size_t>(count));
    return bytes;
  }
}

void OpenFile::sync() const {
  if (::fsync(file_.get()) != 0) throw store::file_refused("sync", path_, errno);
}

}  // namespace sojourn::server
