#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

// Files and folders that are there after a power cut. A name is on the disk only once the folder that holds it is
// synced, so whoever makes one syncs that folder too.
namespace sojourn::store {

// Makes the folder and those above it that are missing, and syncs each folder in which one was made.
// Errors: store_read_only, store_full, io_error; some folders may have been made then.
// Durable: what it made, when it returns. A folder that was there may be one whose maker died before it synced.
void make_folders(const std::filesystem::path& folder);

// Errors: store_read_only, store_full, io_error.
void sync_folder(const std::filesystem::path& folder);

// Makes an empty file where there is none. Not durable.
// Errors: store_read_only, store_full, io_error.
void make_file(const std::filesystem::path& file);

// Makes a file that is there at least `bytes` large, by zeros that are really written: what is written over them
// later is synced without the file system's own journal, in half the time. Where the disk has no room for them, or
// they cannot be written, the file stays as large as it was. Errors: those of sync_folder() for opening it.
void lay_out(const std::filesystem::path& file, std::uint64_t bytes);

// Gives the file this content; whoever reads it finds the old one or the new one, whole.
// Errors: those of sync_folder(); the old content is there then, or either where only the folder's sync failed.
// Shape:   `ending` is added to its name while it is written; processes that write one file at once have each their
//          own.
// Threads: safe, also for one file. Durable: the content, and the name in its folder, when it returns.
void replace_file(const std::filesystem::path& file, std::string_view content, std::string_view ending = ".new");

// The same, but nothing of it is on the disk before sync_file() and sync_folder().
void put_file(const std::filesystem::path& file, std::string_view content, std::string_view ending = ".new");

// Brings the content of a file to the disk, not its name. Errors: those of sync_folder().
void sync_file(const std::filesystem::path& file);

// Makes a file that only its owner may read (mode 0600), with this content. Others find it whole or not at all.
// Errors: already_exists, and the file is as it was; those of sync_folder().
// Durable: when it returns.
void make_secret_file(const std::filesystem::path& file, std::string_view content);

// The content of a plain file; nothing where there is none. A link is not followed, nor anything else waited for.
// Errors: too_large past `most` bytes; invalid_request for what is no plain file; io_error, store_read_only.
std::optional<std::string> read_small_file(const std::filesystem::path& file, std::size_t most);

}  // namespace sojourn::store
