#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/device/board.hpp"

// The files on a board, also on one that has neither folders nor os.stat.
namespace sojourn::device {

struct BoardFile {
  std::string name;
  std::uint64_t size = 0;
  bool is_folder = false;

  bool operator==(const BoardFile&) const = default;
};

struct FileOptions {
  std::size_t chunk = 0;  // bytes written or read at once, and less where the heap is in pieces; 0: as it allows
  bool resume = false;  // go on where an earlier write of the same content was broken off, on boards that can append
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress = nullptr;
};

// Threads: as Board; one operation at a time. Each deadline is of the whole operation.
//
// All fail as Board::exec does; what the board refuses is an app_error of class file_system.
class BoardFiles {
 public:
  explicit BoardFiles(Board& board, FileOptions options = {}) : board_(board), options_(std::move(options)) {}

  // Replaces the file, and then has the board compute the hash of what it holds.
  // Errors: protocol_error where that is not the hash of `data`; the file is then removed, as after any failure
  //         but the loss of the wire and the deadline with FileOptions::resume.
  Async<void> write(std::string path, std::string data, Instant deadline);

  // Errors: protocol_error where what was read has not the hash that the board computes.
  Async<std::string> read(std::string path, Instant deadline);

  // By name. On a board without folders "/" is all there is.
  Async<std::vector<BoardFile>> list(std::string folder, Instant deadline);

  // Nothing where there is none, or none that can be looked at: boards differ in how they say which.
  Async<std::optional<BoardFile>> stat(std::string path, Instant deadline);

  Async<void> remove(std::string path, Instant deadline);  // a file, or an empty folder
  Async<void> make_folder(std::string path, Instant deadline);

  // Size and hash of what the board holds, as checksum_of() computes them here; "" of what cannot be read.
  Async<std::string> checksum(std::string path, Instant deadline);
  Async<std::vector<std::string>> checksums(std::vector<std::string> paths, Instant deadline);
  static std::string checksum_of(std::string_view data);

 private:
  Async<Value> ask(const Function& function, std::vector<std::string> texts, Instant deadline);
  Async<std::uint64_t> free_heap(Instant deadline);
  Async<bool> has_base64(Instant deadline);
  std::size_t chunk(std::uint64_t heap) const;
  Async<std::size_t> find_start(const std::string& path, const std::string& data, Instant deadline);
  Async<std::optional<Value>> write_piece(bool in_base64, std::string_view piece, Instant deadline);
  Async<void> write_chunks(const std::string& path, std::string_view all, std::size_t start, Instant deadline);
  Async<std::optional<std::string>> read_chunks(const std::string& path, std::size_t chunk, Instant deadline);
  Async<void> drop_half_written(std::string path);
  void tell(std::uint64_t done, std::uint64_t total) const;

  Board& board_;
  FileOptions options_;
};

}  // namespace sojourn::device
