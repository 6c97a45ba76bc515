#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sojourn/device/board_files.hpp"

// A folder on a board made like one that is here, by sending only what differs.
namespace sojourn::device {

struct SyncOptions {
  bool remove_others = false;  // files on the board that are not among those given; folders stay
  // Before each file that is sent: its path, and how many of how many bytes were sent.
  std::function<void(const std::string& path, std::uint64_t done, std::uint64_t total)> on_progress = nullptr;
};

struct SyncReport {
  std::vector<std::string> sent;
  std::vector<std::string> removed;
  std::size_t kept = 0;  // were there already, with the same size and hash
};

// Files by their path below a folder, with "/" between folders.
using FileTree = std::map<std::string, std::string>;

// Makes `folder` on the board hold `files`, creating folders where the board has such. One question to the board
// tells which of several files differ. Shape:  `folder` "." or "/" is the board's first. Errors: those of BoardFiles;
// what was sent by then stays, and is not sent again the next time.
Async<SyncReport> sync_to_board(Board& board, FileTree files, std::string folder, Instant deadline,
                                SyncOptions options = {});

}  // namespace sojourn::device
