#include "sojourn/worker/frame.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::worker {

namespace {

constexpr std::size_t least_room = 16 * limits::kibibyte;
constexpr std::size_t most_room = 256 * limits::kibibyte;

// A buffer that a large frame blew up is given back once it is empty.
constexpr std::size_t kept_buffer = limits::mebibyte;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::protocol_error, what);
}

[[noreturn]] void refuse_field(std::string_view type, std::string_view key, std::string_view expected) {
  refuse(fmt::format("a frame of type \"{}\" needs \"{}\": {}", type, key, expected));
}

}  // namespace

Frame::Frame(JsonObject fields, std::size_t bytes) : fields_(std::move(fields)), bytes_(bytes) {
  const Json* type = fields_.if_contains("type");
  if (type == nullptr || !type->is_string()) refuse("a frame has no \"type\"");
  type_ = type->get_string();
}

std::string Frame::text(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_string()) refuse_field(type_, key, "a text");
  return std::string(value->get_string());
}

std::int64_t Frame::integer(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr || !value->is_int64()) refuse_field(type_, key, "an integer");
  return value->get_int64();
}

Json Frame::take(std::string_view key) {
  Json* value = fields_.if_contains(key);
  if (value == nullptr) refuse_field(type_, key, "any value");
  return std::move(*value);
}

bool Frame::flag(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return false;
  if (!value->is_bool()) refuse_field(type_, key, "true or false");
  return value->get_bool();
}

std::string Frame::text_or(std::string_view key, std::string_view fallback) const {
  return find(key) == nullptr ? std::string(fallback) : text(key);
}

JsonObject Frame::take_object(std::string_view key) {
  Json* value = fields_.if_contains(key);
  if (value == nullptr) return {};
  if (!value->is_object()) refuse_field(type_, key, "an object");
  return std::move(value->get_object());
}

JsonArray Frame::take_array(std::string_view key) {
  Json* value = fields_.if_contains(key);
  if (value == nullptr) return {};
  if (!value->is_array()) refuse_field(type_, key, "an array");
  return std::move(value->get_array());
}

std::span<char> FrameDecoder::room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > kept_buffer) buffer_ = {};
  }
  if (buffer_.size() - end_ < least_room) {
    buffer_.erase(0, begin_);
    end_ -= begin_;
    begin_ = 0;
    buffer_.resize(end_ + std::clamp(end_, least_room, most_room));
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

std::optional<Frame> FrameDecoder::next() {
  if (end_ - begin_ < frame_header_bytes) return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 0; i < frame_header_bytes; ++i) {
    length = length << 8 | static_cast<unsigned char>(buffer_[begin_ + i]);
  }
  if (length == 0) refuse("a frame of 0 bytes");
  if (length > max_bytes_) refuse(fmt::format("a frame of {} bytes; at most {} are allowed", length, max_bytes_));
  if (end_ - begin_ < frame_header_bytes + length) return std::nullopt;
  const auto text = std::string_view(buffer_).substr(begin_ + frame_header_bytes, length);
  try {
    Frame frame(parse_json_object(text, {.bytes = max_bytes_, .depth = frame_depth}), length);
    begin_ += frame_header_bytes + length;
    return frame;
  } catch (const Error& error) {
    throw Error(ErrorCode::protocol_error, "a frame cannot be read: " + error.message(), error.details());
  }
}

FrameBuilder::FrameBuilder(std::string_view type) : bytes_(frame_header_bytes, '\0') {
  bytes_ += "{\"type\":";
  append_json_string(bytes_, type);
}

void FrameBuilder::key(std::string_view key) {
  bytes_ += ',';
  append_json_string(bytes_, key);
  bytes_ += ':';
}

FrameBuilder& FrameBuilder::text(std::string_view name, std::string_view value) {
  key(name);
  append_json_string(bytes_, value);
  return *this;
}

FrameBuilder& FrameBuilder::integer(std::string_view name, std::int64_t value) {
  key(name);
  bytes_ += std::to_string(value);
  return *this;
}

FrameBuilder& FrameBuilder::flag(std::string_view name, bool value) {
  key(name);
  bytes_ += value ? "true" : "false";
  return *this;
}

FrameBuilder& FrameBuilder::value(std::string_view name, const Json& value) {
  key(name);
  append_json(bytes_, value, {.bytes = limits::json_bytes, .depth = limits::json_depth});
  return *this;
}

FrameBuilder& FrameBuilder::value(std::string_view name, const JsonObject& value) {
  key(name);
  append_json(bytes_, value, {.bytes = limits::json_bytes, .depth = limits::json_depth});
  return *this;
}

FrameBuilder& FrameBuilder::raw(std::string_view name, std::string_view json) {
  key(name);
  bytes_ += json;
  return *this;
}

std::string FrameBuilder::finish(std::size_t max_bytes) {
  bytes_ += '}';
  const std::size_t length = bytes_.size() - frame_header_bytes;
  if (length > max_bytes) {
    throw Error(ErrorCode::too_large, fmt::format("a frame of {} bytes; at most {} are allowed", length, max_bytes));
  }
  for (std::size_t i = 0; i < frame_header_bytes; ++i) {
    bytes_[i] = static_cast<char>(length >> (8 * (frame_header_bytes - 1 - i)) & 0xFF);
  }
  return std::move(bytes_);
}

}  // namespace sojourn::worker
