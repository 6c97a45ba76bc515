#include "sojourn/server/uploads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::server {

namespace {

constexpr std::size_t most_waiting = 10'000;
constexpr std::size_t most_waiting_of_one = 1'000;
constexpr std::size_t most_running = 64;
constexpr std::size_t most_running_of_one = 16;
constexpr std::size_t write_bytes = 512 * limits::kibibyte;
constexpr std::size_t path_bytes = 1'024;

Error wrong(std::string_view field, std::string_view why) {
  return Error(ErrorCode::invalid_request, fmt::format("'{}' {}", field, why), {{"field", field}});
}

std::string text_field(const JsonObject& file, std::string_view field) {
  const Json* const value = file.if_contains(field);
  if (value == nullptr || value->is_null()) return "";
  if (!value->is_string()) throw wrong(field, "must be a string");
  return std::string(value->get_string());
}

Error over_limit() {
  return Error(ErrorCode::too_large, fmt::format("a file has at most {} bytes", limits::file_bytes),
               {{"file_bytes", limits::file_bytes}});
}

std::optional<std::uint64_t> size_field(const JsonObject& file) {
  const Json* const value = file.if_contains("size");
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_int64() || value->get_int64() < 0) throw wrong("size", "must be a number of bytes");
  const auto size = static_cast<std::uint64_t>(value->get_int64());
  if (size > limits::file_bytes) throw over_limit();
  return size;
}

void check_path(std::string_view path) {
  if (path.size() > path_bytes) throw wrong("path", "has at most 1024 bytes");
  if (path.starts_with('/')) throw wrong("path", "must not be absolute");
  if (path.find('\0') != std::string_view::npos) throw wrong("path", "has a NUL");
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) == "..") throw wrong("path", "must not lead upwards by '..'");
    at = end + 1;
  }
}

Announcement read_announcement(const Json& json) {
  if (!json.is_object()) throw wrong("files", "must be an array of objects");
  const JsonObject& file = json.get_object();
  Announcement announcement{.name = text_field(file, "filename"),
                            .content_type = text_field(file, "content_type"),
                            .path = text_field(file, "path"),
                            .size = size_field(file)};
  check_content_type(announcement.content_type);
  check_path(announcement.path);
  if (announcement.name.empty()) announcement.name = announcement.path.substr(announcement.path.rfind('/') + 1);
  if (announcement.name.empty()) announcement.name = "file";
  check_file_name(announcement.name);
  return announcement;
}

Error size_mismatch(std::uint64_t announced, std::uint64_t sent) {
  return Error(ErrorCode::invalid_request,
               fmt::format("the file was announced with {} bytes, and {} were sent", announced, sent),
               {{"field", "size"}});
}

// The length that a request claims, if it does; the parser has refused what is no number.
std::optional<std::uint64_t> claimed_length(const http::Request& request) {
  const auto text = request.headers.find("Content-Length");
  std::uint64_t length = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), length).ec != std::errc()) {
    return std::nullopt;
  }
  return length;
}

}  // namespace

std::vector<Announcement> read_announcements(std::string_view body) {
  const JsonObject object = parse_json_object(body);
  const Json* const files = object.if_contains("files");
  if (files == nullptr || !files->is_array()) throw wrong("files", "must be an array of objects");
  const JsonArray& array = files->get_array();
  if (array.empty() || array.size() > limits::files_per_request) {
    throw wrong("files", fmt::format("has 1 to {} entries", limits::files_per_request));
  }
  std::vector<Announcement> announcements;
  for (const Json& file : array) announcements.push_back(read_announcement(file));
  return announcements;
}

// Counts an upload while it runs, however it ends.
class Uploads::Running {
 public:
  Running(Uploads& uploads, std::shared_ptr<Upload> upload) : uploads_(uploads), upload_(std::move(upload)) {
    ++uploads_.running_;
    ++uploads_.shares_.at(upload_->owner).running;
    upload_->runs = true;
  }
  ~Running() {
    --uploads_.running_;
    --uploads_.shares_.at(upload_->owner).running;
    upload_->runs = false;
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  Uploads& uploads_;
  const std::shared_ptr<Upload> upload_;
};

Uploads::Ticket Uploads::announce(Announcement announcement, std::string owner) {
  forget_late();
  Share& share = shares_[owner];
  if (share.waiting >= most_waiting_of_one) {
    throw Error(ErrorCode::queue_full,
                fmt::format("{} uploads that this key announced wait already, the most allowed: send them, or wait "
                            "until their time is over",
                            most_waiting_of_one));
  }
  if (uploads_.size() >= most_waiting) {
    throw Error(ErrorCode::unavailable, fmt::format("{} uploads wait already, the most allowed", most_waiting));
  }
  Ticket ticket{
      .id = new_file_id(random_), .token = random_.hex(32), .expires_at = clock_.now() + limits::upload_time};
  uploads_.emplace(ticket.id, std::make_shared<Upload>(Upload{.announced = std::move(announcement),
                                                              .owner = std::move(owner),
                                                              .token = sha256(ticket.token),
                                                              .deadline = clock_.instant() + limits::upload_time,
                                                              .place = by_age_.insert(by_age_.end(), ticket.id)}));
  ++share.waiting;
  return ticket;
}

void Uploads::forget(Waiting::iterator upload) {
  --shares_.at(upload->second->owner).waiting;
  by_age_.erase(upload->second->place);
  uploads_.erase(upload);
}

void Uploads::forget_late() {
  while (!by_age_.empty()) {
    const auto oldest = uploads_.find(by_age_.front());
    assert(oldest != uploads_.end());
    if (oldest->second->deadline > clock_.instant()) return;
    forget(oldest);
  }
}

Async<std::shared_ptr<Uploads::Upload>> Uploads::find(std::string id, std::string token) {
  forget_late();
  const auto found = uploads_.find(id);
  if (found != uploads_.end() && found->second->token == sha256(token)) co_return found->second;
  if (is_file_id(id) && co_await blocking_.run([&] { return store_.find(id).has_value(); })) {
    throw Error(ErrorCode::already_exists, fmt::format("file {} was uploaded already", id));
  }
  throw Error(ErrorCode::not_found, "there is no such upload: its time may be over; announce the file again");
}

Async<FileInfo> Uploads::receive(std::string id, std::string token, const http::Request& request,
                                 http::Responder& responder) {
  const std::shared_ptr<Upload> upload = co_await find(id, std::move(token));
  const auto length = claimed_length(request);
  const auto announced = upload->announced.size;
  if (length && *length > limits::file_bytes) throw over_limit();
  if (length && announced && *length != *announced) throw size_mismatch(*announced, *length);
  if (upload->runs) throw Error(ErrorCode::conflict, fmt::format("file {} is just being uploaded", id));
  if (shares_.at(upload->owner).running >= most_running_of_one) {
    throw Error(ErrorCode::queue_full,
                fmt::format("{} uploads that this key announced run already, the most allowed: wait for one to end",
                            most_running_of_one));
  }
  if (running_ >= most_running) {
    throw Error(ErrorCode::unavailable, fmt::format("{} uploads run already, the most allowed", most_running));
  }
  const Running running(*this, upload);
  std::string type = upload->announced.content_type;
  if (type.empty()) type = request.headers.find("Content-Type").value_or("application/octet-stream");
  check_content_type(type);
  FileInfo made = co_await store_body(id, upload, std::move(type), responder);
  if (const auto done = uploads_.find(id); done != uploads_.end()) forget(done);
  co_return made;
}

Async<FileInfo> Uploads::store_body(std::string id, std::shared_ptr<Upload> upload, std::string content_type,
                                    http::Responder& responder) {
  auto incoming = co_await blocking_.run([&] { return std::make_unique<FileStore::Incoming>(store_, id); });
  FileInfo made{.name = upload->announced.name,
                .content_type = std::move(content_type),
                .owner = upload->owner,
                .created_at = clock_.now()};
  std::exception_ptr failure;
  try {
    co_await write_body(*incoming, upload, responder);
    made = co_await blocking_.run([&] { return incoming->commit(made); });
  } catch (...) {
    failure = std::current_exception();
  }
  co_await blocking_.run([&] { incoming.reset(); });  // removes it unless it is committed
  if (failure) std::rethrow_exception(failure);
  co_return made;
}

Async<void> Uploads::write_body(FileStore::Incoming& incoming, std::shared_ptr<Upload> upload,
                                http::Responder& responder) {
  const auto announced = upload->announced.size;
  std::uint64_t received = 0;
  std::string gathered;
  for (bool ended = false; !ended;) {
    const std::string piece = co_await responder.read();
    ended = piece.empty();
    gathered += piece;
    received += piece.size();
    if (announced && received > *announced) throw size_mismatch(*announced, received);
    if (clock_.instant() >= upload->deadline) {
      throw Error(ErrorCode::request_timeout, "the upload's time is over; announce the file again");
    }
    if (gathered.size() < write_bytes && !ended) continue;
    co_await blocking_.run([&] { incoming.write(gathered); });
    gathered.clear();
  }
  if (announced && received != *announced) throw size_mismatch(*announced, received);
}

}  // namespace sojourn::server
