#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/store/artifact_store.hpp"

// The newest attempt of each artefact as a file in its session's folder, where people and workers look for it. It is
// a copy: a worker may write to what is in its folder.
//
// No link in the folder is followed, since what is in it is its worker's to make. Everything here blocks.
namespace sojourn::store {

// That the file can be put there.
// Errors: invalid_request (field "path") where a link stands in the way, a file where a folder has to be, or a folder
//         where the file has to be; io_error.
void check_place(const std::filesystem::path& folder, const std::vector<std::string>& names);

// Copies the content there; whoever reads the file finds the old one or the new one, whole. What it makes belongs to
// whom the folder belongs to.
// Errors: those of check_place(); store_read_only, store_full, io_error; not_found for the content.
void place(const ArtifactStore& contents, std::string_view session_id, std::string_view sha256,
           const std::filesystem::path& folder, const std::vector<std::string>& names);

// SHA-256 of the file, in hex; nothing where there is no plain file.
std::optional<std::string> hash_of_placed(const std::filesystem::path& folder, const std::vector<std::string>& names);

}  // namespace sojourn::store
