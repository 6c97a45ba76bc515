#include "sojourn/worker/folder_walk.hpp"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"

namespace sojourn::worker {

namespace {

class Walk {
 public:
  Walk(const WalkBounds& bounds, const Visitor& visit) : bounds_(bounds), visit_(visit) {}

  bool below(Descriptor folder, unsigned depth) {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(folder.get()), ::closedir);
    if (!entries) return true;
    const int at = folder.release();  // the stream's now
    while (const dirent* entry = ::readdir(entries.get())) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      struct stat found{};
      if (::fstatat(at, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (++seen_ > bounds_.entries || !visit_(at, entry->d_name, found)) return false;
      if (!S_ISDIR(found.st_mode)) continue;
      Descriptor inner(::openat(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!inner) continue;
      if (depth == bounds_.depth || !below(std::move(inner), depth + 1)) return false;
    }
    return true;
  }

 private:
  const WalkBounds& bounds_;
  const Visitor& visit_;
  std::uint64_t seen_ = 0;
};

}  // namespace

bool walk_folder(const std::filesystem::path& folder, const WalkBounds& bounds, const Visitor& visit) {
  Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened) throw io_error(folder.string(), errno);
  return Walk(bounds, visit).below(std::move(opened), 1);
}

std::uint64_t size_of_folder(const std::filesystem::path& folder, std::uint64_t most) {
  std::uint64_t bytes = 0;
  const bool all = walk_folder(folder, {}, [&](int, const char*, const struct stat& found) {
    bytes += static_cast<std::uint64_t>(found.st_blocks) * 512;
    return bytes <= most;
  });
  return all ? bytes : most + 1;
}

}  // namespace sojourn::worker
