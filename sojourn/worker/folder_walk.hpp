#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <functional>

// Looking at everything in a folder that others may fill while it is looked at.
namespace sojourn::worker {

struct WalkBounds {
  std::uint64_t entries = 200'000;
  unsigned depth = 100;
};

// `name` in the open folder `at`; a link is told of, never followed. False ends the walk.
using Visitor = std::function<bool(int at, const char* name, const struct stat& found)>;

// Visits everything below `folder`, but not itself; what is gone meanwhile is left out. False when `visit` ended it,
// or there is more than the bounds allow. Errors: io_error when `folder` itself cannot be read. Blocks.
bool walk_folder(const std::filesystem::path& folder, const WalkBounds& bounds, const Visitor& visit);

// The disk that all in `folder` takes, or more than `most`: it stops counting there, and where there is more than the
// walk's bounds allow. A file with several names counts several times, one that was removed but is open does not
// count. Errors and cost: those of walk_folder().
std::uint64_t size_of_folder(const std::filesystem::path& folder, std::uint64_t most);

}  // namespace sojourn::worker
