#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"

// Frames of the worker protocol (docs/formats/worker-protocol.md) as bytes: a length, then one JSON object.
namespace sojourn::worker {

inline constexpr int protocol_version = 1;
inline constexpr std::size_t frame_header_bytes = 4;
inline constexpr std::size_t frame_depth = limits::json_depth + 4;

// What a frame may hold on its way to the server, and to the worker, whose `open` holds the whole state.
inline constexpr std::size_t frame_bytes_to_server = 16 * limits::mebibyte;
inline constexpr std::size_t frame_bytes_to_worker = 80 * limits::mebibyte;

// A frame that was read.
class Frame {
 public:
  // `bytes` is the length of its text. Errors: protocol_error when `fields` has no "type".
  explicit Frame(JsonObject fields, std::size_t bytes = 0);

  const std::string& type() const { return type_; }
  const Json* find(std::string_view key) const { return fields_.if_contains(key); }

  // The value of `key`. Errors: protocol_error when it is not there or of another kind.
  std::string text(std::string_view key) const;
  std::int64_t integer(std::string_view key) const;
  Json take(std::string_view key);

  // The value of `key`, or an empty one. Errors: protocol_error when it is of another kind.
  bool flag(std::string_view key) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;
  JsonObject take_object(std::string_view key);
  JsonArray take_array(std::string_view key);

  const JsonObject& fields() const { return fields_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::string type_;
  JsonObject fields_;
  std::size_t bytes_;
};

// Finds the frames in a stream of bytes, wherever it was cut.
class FrameDecoder {
 public:
  explicit FrameDecoder(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // Where the next bytes of the stream go; then say how many came.
  // Cost: memory grows with the bytes that came, never with a length that was only announced.
  std::span<char> room();
  void filled(std::size_t bytes) { end_ += bytes; }

  // The next frame, if all of it is there.
  // Errors: protocol_error for a length of 0 or past the limit, and for what is no strict JSON object with a
  //         type. The stream cannot be read on then.
  std::optional<Frame> next();

 private:
  std::size_t max_bytes_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of the bytes that wait
  std::size_t end_ = 0;
};

// A frame to send, built as text: values are written once and never copied.
class FrameBuilder {
 public:
  explicit FrameBuilder(std::string_view type);

  // Errors: not_serializable.
  FrameBuilder& text(std::string_view key, std::string_view value);
  FrameBuilder& integer(std::string_view key, std::int64_t value);
  FrameBuilder& flag(std::string_view key, bool value);
  // Errors: not_serializable and too_large (past limits::json_bytes) for the value.
  FrameBuilder& value(std::string_view key, const Json& value);
  FrameBuilder& value(std::string_view key, const JsonObject& value);
  // `json` is trusted to be one JSON text.
  FrameBuilder& raw(std::string_view key, std::string_view json);

  // The frame with its length. Errors: too_large past `max_bytes`.
  std::string finish(std::size_t max_bytes);

 private:
  void key(std::string_view key);

  std::string bytes_;
};

}  // namespace sojourn::worker
