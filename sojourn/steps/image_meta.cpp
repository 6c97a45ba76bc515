#include "sojourn/steps/image_meta.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

namespace {

constexpr std::array format_names{"gray8", "rgb8", "bgr8", "rgba8", "gray16"};
constexpr std::array<std::int64_t, 5> format_channels{1, 3, 3, 4, 1};

[[noreturn]] void refuse(std::string_view field, std::string_view reason) {
  throw StepError(StepCode::image_load_failed, fmt::format("image_meta.{}: {}", field, reason));
}

const Json* find(const JsonObject& json, std::string_view key) {
  const Json* value = json.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::int64_t number_at(const JsonObject& json, std::string_view key, std::int64_t least, std::int64_t most) {
  const Json* value = find(json, key);
  if (value == nullptr || !value->is_int64() || value->get_int64() < least || value->get_int64() > most) {
    refuse(key, fmt::format("must be a whole number from {} to {}", least, most));
  }
  return value->get_int64();
}

PixelFormat format_at(const JsonObject& json) {
  const Json* value = find(json, "format");
  const auto* found = value == nullptr || !value->is_string()
                          ? format_names.end()
                          : std::ranges::find(format_names, std::string_view(value->get_string()));
  if (found == format_names.end()) {
    throw StepError(StepCode::unsupported_color_space,
                    fmt::format("image_meta.format: must be one of {}", fmt::join(format_names, ", ")));
  }
  return static_cast<PixelFormat>(found - format_names.begin());
}

std::optional<std::uint32_t> checksum_at(const JsonObject& json) {
  const Json* value = find(json, "checksum");
  if (value == nullptr) return std::nullopt;
  constexpr std::string_view prefix = "crc32:";
  const std::string_view text = value->is_string() ? std::string_view(value->get_string()) : "";
  std::uint32_t sum = 0;
  if (text.size() == prefix.size() + 8 && text.starts_with(prefix)) {
    const auto [end, error] = std::from_chars(text.data() + prefix.size(), text.data() + text.size(), sum, 16);
    if (error == std::errc() && end == text.data() + text.size()) return sum;
  }
  refuse("checksum", "must be \"crc32:\" and eight hex digits");
}

}  // namespace

std::int64_t ImageMeta::channels() const {
  return format_channels[static_cast<std::size_t>(format)];
}

std::int64_t ImageMeta::pixel_bytes() const {
  return format == PixelFormat::gray16 ? 2 : channels();
}

JsonObject ImageMeta::to_json() const {
  JsonObject json{{"width", width},
                  {"height", height},
                  {"channels", channels()},
                  {"stride", row_bytes()},
                  {"format", format_names[static_cast<std::size_t>(format)]}};
  if (checksum) json["checksum"] = fmt::format("crc32:{:08x}", *checksum);
  return json;
}

void ImageMeta::check() const {
  const auto within = [](std::string_view field, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most)
      refuse(field, fmt::format("must be a whole number from {} to {}", least, most));
  };
  within("width", width, 1, longest_image_side);
  within("height", height, 1, longest_image_side);
  if (stride != 0) within("stride", stride, width * pixel_bytes(), image_bytes);
  if (format == PixelFormat::gray16 && stride % 2 != 0) refuse("stride", "must be even: a pixel has two bytes");
  if (row_bytes() * height > image_bytes) {
    refuse("height", fmt::format("an image has at most {} bytes", image_bytes));
  }
}

ImageMeta ImageMeta::from_json(const JsonObject& json) {
  ImageMeta meta;
  meta.width = number_at(json, "width", 1, longest_image_side);
  meta.height = number_at(json, "height", 1, longest_image_side);
  meta.format = format_at(json);
  if (find(json, "channels") != nullptr) number_at(json, "channels", meta.channels(), meta.channels());
  const std::int64_t close = meta.width * meta.pixel_bytes();
  meta.stride = find(json, "stride") == nullptr ? close : number_at(json, "stride", close, image_bytes);
  meta.check();
  meta.checksum = checksum_at(json);
  return meta;
}

}  // namespace sojourn::steps
