#include "sojourn/store/artifact_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/refusals.hpp"
#include "sojourn/store/session_folder.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

constexpr const char* incoming = "incoming";
constexpr std::size_t piece_bytes = 256 * limits::kibibyte;

bool is_hash(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Error no_content(std::string_view session_id, std::string_view sha256) {
  return Error(ErrorCode::not_found,
               fmt::format("session {} has no content {}", session_id, to_valid_utf8(sha256.substr(0, 64))));
}

}  // namespace

void ArtifactStore::open() const {
  const fs::path folder = folder_ / incoming;
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) throw file_refused("remove", folder, error.value());
  make_folders(folder);
}

fs::path ArtifactStore::folder_of(std::string_view session_id) const {
  return folder_ / day_of(session_id) / session_id;
}

ArtifactStore::Incoming::Incoming(const ArtifactStore& store, std::string session_id)
    : store_(store), session_id_(std::move(session_id)) {
  static std::atomic<std::uint64_t> next{0};
  path_ = store_.folder_ / incoming / fmt::format("{}.{}", ::getpid(), next++);
  make_folders(path_.parent_path());
  file_ = Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file_) throw file_refused("make", path_, errno);
}

ArtifactStore::Incoming::~Incoming() {
  ::unlink(path_.c_str());
}

void ArtifactStore::Incoming::write(std::string_view bytes) {
  hasher_.add(bytes);
  size_ += bytes.size();
  if (write_all(file_.get(), bytes) < bytes.size()) throw file_refused("write", path_, errno);
}

std::string ArtifactStore::Incoming::commit() {
  if (::fsync(file_.get()) != 0) throw file_refused("sync", path_, errno);
  std::string hash = to_hex(hasher_.finish());
  const fs::path folder = store_.folder_of(session_id_);
  make_folders(folder);
  // What is there may be damaged: the one that just came is not.
  if (::rename(path_.c_str(), (folder / hash).c_str()) != 0) throw file_refused("make", folder / hash, errno);
  sync_folder(folder);
  // Who made these folders may have died before it synced them.
  for (const fs::path& above : {folder.parent_path(), store_.folder_}) sync_folder(above);
  return hash;
}

fs::path ArtifactStore::path_of(std::string_view session_id, std::string_view sha256) const {
  if (!is_hash(sha256)) throw no_content(session_id, sha256);
  return folder_of(session_id) / sha256;
}

Descriptor ArtifactStore::content(std::string_view session_id, std::string_view sha256) const {
  const fs::path path = path_of(session_id, sha256);
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file) return file;
  if (errno == ENOENT) throw no_content(session_id, sha256);
  throw file_refused("open", path, errno);
}

std::uint64_t ArtifactStore::read(std::string_view session_id, std::string_view sha256,
                                  const std::function<void(std::string_view)>& take) const {
  const Descriptor file = content(session_id, sha256);
  std::string piece(piece_bytes, '\0');
  for (std::uint64_t size = 0;;) {
    const std::optional<std::size_t> got = read_up_to(file.get(), piece);
    if (!got) throw file_refused("read", folder_of(session_id) / sha256, errno);
    if (*got == 0) return size;
    size += *got;
    take({piece.data(), *got});
  }
}

std::optional<std::string> ArtifactStore::hash(std::string_view session_id, std::string_view sha256) const {
  Hasher hasher;
  try {
    read(session_id, sha256, [&](std::string_view piece) { hasher.add(piece); });
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found) return std::nullopt;
    throw;
  }
  return to_hex(hasher.finish());
}

void ArtifactStore::remove(std::string_view session_id) const {
  const fs::path folder = folder_of(session_id);
  std::error_code error;
  const std::uintmax_t removed = fs::remove_all(folder, error);
  if (error) throw file_refused("remove", folder, error.value());
  if (removed > 0) sync_folder(folder.parent_path());
}

std::uint64_t ArtifactStore::bytes() const {
  return bytes_in(folder_);
}

}  // namespace sojourn::store
