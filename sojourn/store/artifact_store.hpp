#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/sha256.hpp"

// The contents of artefacts, every attempt of each, in the data folder:
// artifacts/2024-01-15/sess_20240115_103045_a1b2c3/SHA256.
//
// They stand apart from the sessions' folders, which belong to their workers, so that those can be made anew from
// them. A content is made under another name and gets its own when it is on the disk; it is never changed then. Which
// content is which artefact says the journal.
namespace sojourn::store {

// Everything here blocks. Threads: safe for different sessions.
class ArtifactStore {
 public:
  explicit ArtifactStore(const std::filesystem::path& data) : folder_(data / "artifacts") {}

  // Removes what uploads left that broke off. For the start of a server, which owns the data folder.
  // Errors: store_read_only, io_error.
  void open() const;

  // A content on its way in. Destroyed before commit() it leaves nothing.
  class Incoming {
   public:
    // Errors: store_read_only, store_full, io_error.
    Incoming(const ArtifactStore& store, std::string session_id);
    ~Incoming();
    Incoming(const Incoming&) = delete;
    Incoming& operator=(const Incoming&) = delete;

    std::uint64_t size() const { return size_; }
    void write(std::string_view bytes);  // Errors: store_full, io_error.

    // Keeps it, and returns its SHA-256 in hex. One that is there already is kept once. Durable: when it returns.
    std::string commit();

   private:
    const ArtifactStore& store_;
    const std::string session_id_;
    std::filesystem::path path_;
    Descriptor file_;
    Hasher hasher_;
    std::uint64_t size_ = 0;
  };

  // Where a content is, if there is one. Errors: not_found for what is no hash.
  std::filesystem::path path_of(std::string_view session_id, std::string_view sha256) const;

  // Errors: not_found, io_error.
  Descriptor content(std::string_view session_id, std::string_view sha256) const;

  // Hands the content to `take`, piece by piece, and returns its size. Errors: as content(), and those of `take`.
  std::uint64_t read(std::string_view session_id, std::string_view sha256,
                     const std::function<void(std::string_view)>& take) const;

  // SHA-256 of what is there under that name; nothing where there is nothing. Errors: io_error.
  std::optional<std::string> hash(std::string_view session_id, std::string_view sha256) const;

  // All contents of a session. Errors: store_read_only, io_error. Durable: when it returns.
  void remove(std::string_view session_id) const;

  std::uint64_t bytes() const;  // of all contents

 private:
  std::filesystem::path folder_of(std::string_view session_id) const;

  std::filesystem::path folder_;
};

}  // namespace sojourn::store
