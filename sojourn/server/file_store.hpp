#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/server/open_file.hpp"

// Files beside the sessions: what clients uploaded and what calls handed out, in the data folder under files/ID/.
//
// Each is `content` and `about.json`, made under another name and renamed when both are on the disk, so a file is
// there whole or not at all. Everything here blocks: call it on a BlockingPool.
namespace sojourn::server {

// "file_" and 32 hex digits: nobody guesses it, and it is no path.
std::string new_file_id(Random& random);
bool is_file_id(std::string_view text);

// Errors: invalid_request for what is no plain name of 1 to limits::file_name_bytes bytes: "", ".", "..", with a
// slash, a control character or broken UTF-8.
void check_file_name(std::string_view name);

// Errors: invalid_request for more than 255 bytes, or others than printable ASCII.
void check_content_type(std::string_view type);

struct FileInfo {
  std::string id;
  std::string name;
  std::string content_type;
  std::uint64_t size = 0;
  std::string sha256;   // hex
  std::string owner;    // the key that made it
  std::string session;  // that handed it out; "" for an upload
  Time created_at{};

  JsonObject to_json() const;
};

// Threads: safe for different files.
class FileStore {
 public:
  explicit FileStore(const std::filesystem::path& data);

  // Makes the folder, and removes what a crash left half made. Errors: store_read_only, store_full, io_error.
  void open() const;

  // A file on its way in. Destroyed before commit() it leaves nothing.
  class Incoming {
   public:
    Incoming(const FileStore& store, std::string id);
    ~Incoming();
    Incoming(const Incoming&) = delete;
    Incoming& operator=(const Incoming&) = delete;

    std::uint64_t size() const { return size_; }

    // Errors: store_full, io_error.
    void write(std::string_view bytes);

    // Fills in id, size and hash, and gives the file its place. Errors: already_exists; those of write().
    // Durable: when it returns.
    FileInfo commit(FileInfo about);

   private:
    const FileStore& store_;
    std::string id_;
    std::filesystem::path folder_;
    std::unique_ptr<OpenFile> content_;
    Hasher hasher_;
    std::uint64_t size_ = 0;
    bool kept_ = false;
  };

  // Nothing for an id that no file has. Errors: io_error; store_corrupt for a file whose about.json cannot be read.
  std::optional<FileInfo> find(std::string_view id) const;
  OpenFile content(std::string_view id) const;  // Errors: not_found, io_error
  std::filesystem::path path_of(std::string_view id) const {
    return folder_ / id / "content";
  }  // of an id that find() knows

  // Puts off the removal of an upload.
  void note_use(std::string_view id, Time now) const;
  void remove(std::string_view id) const;  // Errors: not_found, io_error

  // Removes uploads that were not used since `before`, and what sessions handed out that are no more.
  // Errors: the first of any file, once all the others are looked at; that file stays.
  void sweep(Time before, const std::function<bool(const std::string& session)>& is_there) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace sojourn::server
