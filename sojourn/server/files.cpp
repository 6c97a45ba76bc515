#include "sojourn/server/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/server/wire.hpp"

namespace sojourn::server {

namespace {

constexpr unsigned file_threads = 2;
constexpr std::size_t send_bytes = 256 * limits::kibibyte;
constexpr Seconds sweep_interval{3'600};

// Bytes from `first` up to, but not with, `end`.
struct Part {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The one part that `range` asks for: "bytes=FIRST-LAST", "bytes=FIRST-", "bytes=-COUNT". Nothing for what is not
// understood, which is answered whole (RFC 9110, 14.2). An empty part cannot be served.
std::optional<Part> read_range(std::string_view range, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  const std::size_t dash = range.find('-');
  if (!range.starts_with(unit) || dash == std::string_view::npos) return std::nullopt;
  const std::string_view before = range.substr(unit.size(), dash - unit.size());
  const std::string_view after = range.substr(dash + 1);
  const auto first = number(before);
  const auto last = number(after);
  if (before.empty() && last) return Part{size - std::min(size, *last), size};
  if (!first || (!after.empty() && (!last || *last < *first))) return std::nullopt;
  if (*first >= size) return Part{};
  return Part{*first, last && *last < size ? *last + 1 : size};
}

std::optional<Part> asked_part(const http::Request& request, const FileInfo& file, std::string_view etag) {
  const auto range = request.headers.find("Range");
  if (!range || request.headers.find("If-Range").value_or(etag) != etag) return std::nullopt;
  return read_range(*range, file.size);
}

// A name in its own letters, percent-encoded as RFC 8187 says.
std::string attachment(std::string_view name) {
  std::string text = "attachment; filename*=UTF-8''";
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.';
    text += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return text;
}

// A file is a stranger's, and no page of this server: a browser keeps it and runs nothing in it.
http::Response file_head(const FileInfo& file, std::string_view etag) {
  http::Response head;
  head.content_type = file.content_type;
  head.headers.add("ETag", std::string(etag));
  head.headers.add("Accept-Ranges", "bytes");
  head.headers.add("Cache-Control", "private, no-cache");
  head.headers.add("Content-Disposition", attachment(file.name));
  head.headers.add("X-Content-Type-Options", "nosniff");
  head.headers.add("Content-Security-Policy", "sandbox; default-src 'none'");
  return head;
}

http::Response no_such_part(const FileInfo& file) {
  http::Response response = error_response(
      Error(ErrorCode::invalid_request, fmt::format("the file has {} bytes, none of them in that range", file.size),
            {{"field", "Range"}}));
  response.status = 416;
  response.headers.add("Content-Range", fmt::format("bytes */{}", file.size));
  return response;
}

}  // namespace

Files::Files(Executor executor, const std::filesystem::path& data, Clock& clock, Random& random, const Log& log,
             std::function<bool(const std::string& session)> is_session_there)
    : store(data),
      blocking(file_threads),
      uploads(store, clock, random, blocking),
      calls(store, clock, random, blocking),
      clock_(clock),
      log_(log),
      is_session_there_(std::move(is_session_there)),
      sweeping_(std::move(executor)) {}

void Files::start() {
  store.open();
  sweeping_.spawn(sweep_again_and_again());
}

Async<void> Files::close() {
  sweeping_.cancel();
  co_await sweeping_.join();
}

Async<void> Files::sweep_again_and_again() {
  for (;;) {
    std::optional<std::string> failure;
    try {
      co_await blocking.run([&] { store.sweep(clock_.now() - limits::unused_upload_time, is_session_there_); });
    } catch (const std::exception& error) {
      failure = error.what();
    }
    if (failure) log_.warning("old files could not be cleared away", {{"reason", to_valid_utf8(*failure)}});
    co_await sleep_until(clock_, clock_.instant() + sweep_interval);
  }
}

std::optional<std::uint64_t> Files::body_stream(http::Method method, std::string_view target) {
  target = target.substr(0, target.find('?'));
  if (target.starts_with("/v1/")) target.remove_prefix(3);
  if (method != http::Method::put) return std::nullopt;
  if (target.starts_with("/files/")) return limits::file_bytes;
  // /sessions/ID/artifacts/PATH
  constexpr std::string_view sessions = "/sessions/";
  if (!target.starts_with(sessions)) return std::nullopt;
  target.remove_prefix(std::min(target.find('/', sessions.size()), target.size()));
  if (!target.starts_with("/artifacts/")) return std::nullopt;
  return limits::file_bytes;
}

Async<void> Files::send(FileInfo file, const http::Request& request, http::Responder& responder) {
  const std::filesystem::path content = store.path_of(file.id);
  co_await send_file(std::move(file), content, blocking, request, responder);
}

Async<void> send_file(FileInfo file, std::filesystem::path path, BlockingPool& blocking, const http::Request& request,
                      http::Responder& responder) {
  const std::string etag = fmt::format("\"{}\"", file.sha256);
  http::Response head = file_head(file, etag);
  if (request.headers.find("If-None-Match") == etag) {
    head.status = 304;
    co_await responder.send(std::move(head));
    co_return;
  }
  const std::optional<Part> asked = asked_part(request, file, etag);
  const Part part = asked.value_or(Part{0, file.size});
  if (asked && part.first == part.end) {
    co_await responder.send(no_such_part(file));
    co_return;
  }
  if (asked) {
    head.status = 206;
    head.headers.add("Content-Range", fmt::format("bytes {}-{}/{}", part.first, part.end - 1, file.size));
  }
  const OpenFile content = co_await blocking.run([&] { return OpenFile::at(path, O_RDONLY); });
  co_await responder.start(std::move(head), part.end - part.first);
  if (request.method == http::Method::head) co_return;
  for (std::uint64_t at = part.first; at < part.end;) {
    const std::size_t most = std::min<std::uint64_t>(send_bytes, part.end - at);
    std::string bytes = co_await blocking.run([&] { return content.read(at, most); });
    if (bytes.empty()) throw Error(ErrorCode::io_error, fmt::format("file {} is shorter than it was", file.name));
    at += bytes.size();
    co_await responder.write(std::move(bytes));
  }
}

}  // namespace sojourn::server
