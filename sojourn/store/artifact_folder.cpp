#include "sojourn/store/artifact_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

[[noreturn]] void refuse(std::string_view name, std::string_view what) {
  throw Error(ErrorCode::invalid_request,
              fmt::format("'{}' in the session's folder is {}", to_valid_utf8(name), what), {{"field", "path"}});
}

// The folder of that name; an empty one where there is none. Errors: as check_place().
Descriptor open_folder(const Descriptor& above, const std::string& name) {
  Descriptor folder(::openat(above.get(), name.c_str(), folder_flags));
  if (folder || errno == ENOENT) return folder;
  if (errno == ELOOP || errno == ENOTDIR) refuse(name, "a link or a file, and no folder");
  throw file_refused("open", name, errno);
}

Descriptor open_session(const fs::path& folder) {
  Descriptor opened(::open(folder.c_str(), folder_flags));
  if (!opened && errno != ENOENT) throw file_refused("open", folder, errno);
  return opened;
}

void check_file(const Descriptor& folder, const std::string& name) {
  struct stat found{};
  if (::fstatat(folder.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (S_ISLNK(found.st_mode)) refuse(name, "a link");
  if (!S_ISREG(found.st_mode)) refuse(name, "a folder or a device, and no file");
}

// What root makes in a worker's folder is the worker's.
void give_to_owner(const Descriptor& folder, const Descriptor& made, const std::string& name) {
  struct stat owner{};
  struct stat found{};
  if (::fstat(folder.get(), &owner) != 0 || ::fstat(made.get(), &found) != 0) throw file_refused("read", name, errno);
  if (owner.st_uid != found.st_uid && ::fchown(made.get(), owner.st_uid, owner.st_gid) != 0) {
    throw file_refused("give away", name, errno);
  }
}

Descriptor make_folder(const Descriptor& above, const std::string& name) {
  const bool is_new = ::mkdirat(above.get(), name.c_str(), 0777) == 0;
  if (!is_new && errno != EEXIST) throw file_refused("make", name, errno);
  Descriptor folder = open_folder(above, name);
  if (!folder) throw file_refused("open", name, ENOENT);
  if (is_new) give_to_owner(above, folder, name);
  return folder;
}

// Artefacts have no such name, and what writes meanwhile has another.
std::string fresh_name() {
  return fmt::format(".artifact.{}.new", ::gettid());
}

}  // namespace

void check_place(const fs::path& folder, const std::vector<std::string>& names) {
  Descriptor within = open_session(folder);
  for (std::size_t i = 0; i + 1 < names.size() && within; ++i) within = open_folder(within, names[i]);
  if (within) check_file(within, names.back());
}

void place(const ArtifactStore& contents, std::string_view session_id, std::string_view sha256,
           const fs::path& folder, const std::vector<std::string>& names) {
  Descriptor within = open_session(folder);
  if (!within) throw file_refused("open", folder, ENOENT);
  for (std::size_t i = 0; i + 1 < names.size(); ++i) within = make_folder(within, names[i]);
  const std::string& name = names.back();
  check_file(within, name);
  const std::string fresh = fresh_name();
  ::unlinkat(within.get(), fresh.c_str(), 0);
  const Descriptor file(
      ::openat(within.get(), fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) throw file_refused("make", name, errno);
  try {
    give_to_owner(within, file, name);
    contents.read(session_id, sha256, [&](std::string_view piece) {
      if (write_all(file.get(), piece) < piece.size()) throw file_refused("write", name, errno);
    });
    if (::fsync(file.get()) != 0) throw file_refused("sync", name, errno);
    if (::renameat(within.get(), fresh.c_str(), within.get(), name.c_str()) != 0)
      throw file_refused("make", name, errno);
  } catch (...) {
    ::unlinkat(within.get(), fresh.c_str(), 0);
    throw;
  }
  if (::fsync(within.get()) != 0) throw file_refused("sync", name, errno);
}

std::optional<std::string> hash_of_placed(const fs::path& folder, const std::vector<std::string>& names) {
  Descriptor within = open_session(folder);
  try {
    for (std::size_t i = 0; i + 1 < names.size() && within; ++i) within = open_folder(within, names[i]);
    if (within) check_file(within, names.back());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_request) return std::nullopt;
    throw;
  }
  if (!within) return std::nullopt;
  const Descriptor file(::openat(within.get(), names.back().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return std::nullopt;
  Hasher hasher;
  std::string piece(256 * limits::kibibyte, '\0');
  for (;;) {
    const std::optional<std::size_t> got = read_up_to(file.get(), piece);
    if (!got) throw file_refused("read", names.back(), errno);
    if (*got == 0) return to_hex(hasher.finish());
    hasher.add({piece.data(), *got});
  }
}

}  // namespace sojourn::store
