#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "sojourn/base/json.hpp"

// What a picture in shared memory is said to be.
namespace sojourn::steps {

// gray16 has two bytes a pixel, in the machine's order.
enum class PixelFormat { gray8, rgb8, bgr8, rgba8, gray16 };

inline constexpr std::int64_t longest_image_side = 65'535;
inline constexpr std::int64_t image_bytes = 1 << 30;

// Rows of `stride` bytes, the first at the top; what a row has past its pixels means nothing.
struct ImageMeta {
  std::int64_t width = 0, height = 0;  // pixels
  PixelFormat format = PixelFormat::rgb8;
  std::int64_t stride = 0;                               // 0: rows lie close
  std::optional<std::uint32_t> checksum = std::nullopt;  // crc32 of all rows, as in zlib

  std::int64_t channels() const;
  std::int64_t pixel_bytes() const;
  std::int64_t row_bytes() const { return stride == 0 ? width * pixel_bytes() : stride; }
  std::size_t bytes() const { return static_cast<std::size_t>(row_bytes() * height); }

  // {"width", "height", "channels", "stride", "format", "checksum": "crc32:00000000"}.
  JsonObject to_json() const;

  // Errors: StepError image_load_failed, which names the field, for a size or a stride that no image may have.
  void check() const;

  // Reads a call's image_meta, whose other fields are the caller's own (camera_id, timestamp_ms). channels, stride
  // and checksum may be left out; channels must be the format's. Errors: StepError image_load_failed, which names the
  // field; unsupported_color_space for the format.
  static ImageMeta from_json(const JsonObject& json);
};

}  // namespace sojourn::steps
