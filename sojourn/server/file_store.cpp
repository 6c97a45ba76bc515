#include "sojourn/server/file_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::server {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "file_";
constexpr std::string_view unfinished = ".new";
constexpr std::size_t type_bytes = 255;

std::string text(const JsonObject& about, std::string_view field) {
  return std::string(about.at(field).as_string());
}

FileInfo read_about(std::string_view id, const std::string& json) {
  const JsonObject about = parse_json_object(json);
  return {.id = std::string(id),
          .name = text(about, "filename"),
          .content_type = text(about, "content_type"),
          .size = about.at("size").to_number<std::uint64_t>(),
          .sha256 = text(about, "sha256"),
          .owner = text(about, "owner"),
          .session = text(about, "session"),
          .created_at = parse_time(text(about, "created_at"))};
}

}  // namespace

std::string new_file_id(Random& random) {
  return fmt::format("{}{}", prefix, random.hex(16));
}

bool is_file_id(std::string_view text) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == prefix.size() + 32 && text.starts_with(prefix) &&
         std::ranges::all_of(text.substr(prefix.size()), is_hex);
}

void check_file_name(std::string_view name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  const char* complaint = nullptr;
  if (name.empty() || name.size() > limits::file_name_bytes) {
    complaint = "a file's name has 1 to 255 bytes";
  } else if (name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    complaint = "a file's name is one name, not a path";
  } else if (std::ranges::any_of(name, is_control) || !is_valid_utf8(name)) {
    complaint = "a file's name is UTF-8 without control characters";
  }
  if (complaint != nullptr) throw Error(ErrorCode::invalid_request, complaint, {{"field", "filename"}});
}

// A header field is made of it later.
void check_content_type(std::string_view type) {
  const auto is_printable = [](char c) { return c >= 0x20 && c < 0x7f; };
  if (type.size() > type_bytes || !std::ranges::all_of(type, is_printable)) {
    throw Error(ErrorCode::invalid_request, "'content_type' has at most 255 printable ASCII characters",
                {{"field", "content_type"}});
  }
}

JsonObject FileInfo::to_json() const {
  return {{"id", id},
          {"filename", name},
          {"content_type", content_type},
          {"size", size},
          {"sha256", sha256},
          {"owner", owner},
          {"session", session},
          {"created_at", format_time(created_at)}};
}

FileStore::FileStore(const fs::path& data) : folder_(data / "files") {}

void FileStore::open() const {
  store::make_folders(folder_);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    std::error_code ignored;
    if (entry.path().native().ends_with(unfinished)) fs::remove_all(entry.path(), ignored);
  }
}

FileStore::Incoming::Incoming(const FileStore& store, std::string id)
    : store_(store), id_(std::move(id)), folder_(store.folder_ / fmt::format("{}{}", id_, unfinished)) {
  if (::mkdir(folder_.c_str(), 0777) != 0) throw store::file_refused("make", folder_, errno);
  try {
    content_ = std::make_unique<OpenFile>(OpenFile::at(folder_ / "content", O_WRONLY | O_CREAT | O_EXCL));
  } catch (...) {
    ::rmdir(folder_.c_str());
    throw;
  }
}

FileStore::Incoming::~Incoming() {
  if (kept_) return;
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void FileStore::Incoming::write(std::string_view bytes) {
  content_->write(bytes);
  hasher_.add(bytes);
  size_ += bytes.size();
}

FileInfo FileStore::Incoming::commit(FileInfo about) {
  about.id = id_;
  about.size = size_;
  about.sha256 = to_hex(hasher_.finish());
  content_->sync();
  store::replace_file(folder_ / "about.json", to_text(about.to_json()) + "\n");
  const OpenFile files = OpenFile::at(store_.folder_, O_RDONLY | O_DIRECTORY);
  if (!files.rename(folder_.filename(), about.id)) {
    throw Error(ErrorCode::already_exists, fmt::format("file {} is there already", about.id));
  }
  kept_ = true;
  return about;
}

std::optional<FileInfo> FileStore::find(std::string_view id) const {
  const fs::path folder = folder_ / id;
  std::error_code error;
  if (!is_file_id(id) || !fs::is_directory(folder, error)) return std::nullopt;
  try {
    return read_about(id, OpenFile::at(folder / "about.json", O_RDONLY).read(0, limits::context_bytes));
  } catch (const std::exception& broken) {
    if (!fs::is_directory(folder, error)) return std::nullopt;  // just removed
    throw Error(ErrorCode::store_corrupt,
                fmt::format("the description of file {} cannot be read: {}", id, to_valid_utf8(broken.what())));
  }
}

OpenFile FileStore::content(std::string_view id) const {
  return OpenFile::at(folder_, O_RDONLY | O_DIRECTORY)
      .open(std::string(id), O_RDONLY | O_DIRECTORY)
      .open("content", O_RDONLY);
}

void FileStore::note_use(std::string_view id, Time now) const {
  const auto seconds = std::chrono::floor<Seconds>(now.time_since_epoch());
  const timespec time{.tv_sec = seconds.count(), .tv_nsec = 0};
  const timespec times[2]{time, time};
  ::utimensat(AT_FDCWD, (folder_ / id).c_str(), times, AT_SYMLINK_NOFOLLOW);
}

void FileStore::remove(std::string_view id) const {
  // Renamed first, so that it is gone at once and whole.
  const OpenFile files = OpenFile::at(folder_, O_RDONLY | O_DIRECTORY);
  const std::string gone = fmt::format("{}.gone{}", id, unfinished);
  if (!files.rename(std::string(id), gone)) {  // a removal broke off
    files.remove_all(gone);
    files.rename(std::string(id), gone);
  }
  files.remove_all(gone);
}

void FileStore::sweep(Time before, const std::function<bool(const std::string& session)>& is_there) const {
  std::exception_ptr failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const std::string id = entry.path().filename();
    struct stat found{};
    if (!is_file_id(id) || ::stat(entry.path().c_str(), &found) != 0) continue;
    const Time used{Seconds(found.st_mtim.tv_sec)};
    if (used > before) continue;
    try {
      const std::optional<FileInfo> about = find(id);
      if (about && (about->session.empty() || !is_there(about->session))) remove(id);
    } catch (...) {
      // Who removes it meanwhile does what is wanted here.
      const bool is_gone = to_error(std::current_exception()).code() == ErrorCode::not_found;
      if (!is_gone && !failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sojourn::server
