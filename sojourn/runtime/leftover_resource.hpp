#pragma once

#include <optional>
#include <string>

#include "sojourn/store/record.hpp"

namespace sojourn::runtime {

// Cleans up a resource whose owner died, from what was written down of it:
//   {"path": P}             a file or folder, removed if it lies within `session_folder`, /tmp or /dev/shm
//   {"pid": N, "start": T}  a process, killed if it is still the one that started at T (field 22 of /proc/N/stat)
//   {"shm": NAME}           a POSIX shared memory object, unlinked
// Where the note also holds {"user": ID}, all processes of that user have ended, and of /tmp and /dev/shm only what
// lies in them directly and is that user's is removed; with {"sandbox": true} all outside the session's folder went
// with the sandbox. The server adds these, so that a worker has nothing done that it might not do itself.
// What is gone already counts as cleaned up. Returns why it could not be, or nothing.
// Threads: any; it blocks.
std::optional<std::string> clean_up_leftover(const store::ResourceRecord& resource,
                                             const std::string& session_folder);

}  // namespace sojourn::runtime
