#include "sojourn/cli/picture_file.hpp"

// Before the decoders' own headers, which need it.
#include <cstdio>
//
#include <fmt/format.h>
#include <jpeglib.h>
#include <png.h>

#include <cerrno>
#include <csetjmp>
#include <memory>
#include <optional>

#include "sojourn/base/error.hpp"
#include "sojourn/steps/step_error.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;
using steps::ImageMeta;
using steps::PixelFormat;
using steps::SharedImage;

[[noreturn]] void refuse(const fs::path& file, std::string_view reason) {
  throw Error(ErrorCode::invalid_request, fmt::format("{}: {}", file.string(), reason));
}

SharedImage make(const fs::path& file, std::int64_t width, std::int64_t height, PixelFormat format) {
  try {
    return SharedImage::create({.width = width, .height = height, .format = format});
  } catch (const steps::StepError& error) {
    refuse(file, error.message());
  }
}

unsigned char* bytes_of(SharedImage& image) {
  return reinterpret_cast<unsigned char*>(image.writable().data());
}

SharedImage read_png(const fs::path& file) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_file(&png, file.c_str()) == 0) refuse(file, png.message);
  const std::unique_ptr<png_image, void (*)(png_image*)> freed(&png, png_image_free);
  PixelFormat format = PixelFormat::gray8;
  if ((png.format & PNG_FORMAT_FLAG_ALPHA) != 0) {
    format = PixelFormat::rgba8;
    png.format = PNG_FORMAT_RGBA;
  } else if ((png.format & (PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_COLORMAP)) != 0) {
    format = PixelFormat::rgb8;
    png.format = PNG_FORMAT_RGB;
  } else {
    png.format = PNG_FORMAT_GRAY;
  }
  SharedImage image = make(file, png.width, png.height, format);
  if (png_image_finish_read(&png, nullptr, bytes_of(image), 0, nullptr) == 0) {
    SharedImage::remove(image.id());
    refuse(file, png.message);
  }
  return image;
}

// libjpeg ends a failed call by a jump, over frames that own nothing: those of start() and finish().
class Jpeg {
 public:
  explicit Jpeg(std::FILE* file) : file_(file) {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = [](j_common_ptr common) {
      Jpeg& self = *static_cast<Jpeg*>(common->client_data);
      common->err->format_message(common, self.message_);
      std::longjmp(self.failed_, 1);
    };
    errors_.output_message = [](j_common_ptr common) {
      common->err->format_message(common, static_cast<Jpeg*>(common->client_data)->message_);
    };
    jpeg_.client_data = this;
    jpeg_create_decompress(&jpeg_);
  }
  ~Jpeg() { jpeg_destroy_decompress(&jpeg_); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  bool start() {
    if (setjmp(failed_) != 0) return false;
    jpeg_stdio_src(&jpeg_, file_);
    jpeg_read_header(&jpeg_, TRUE);
    jpeg_.out_color_space = jpeg_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    return true;
  }

  // A damaged file is decoded with gray in its place, and a warning; here it is refused.
  bool finish(unsigned char* rows, std::size_t stride) {
    if (setjmp(failed_) != 0) return false;
    while (jpeg_.output_scanline < jpeg_.output_height) {
      unsigned char* row = rows + jpeg_.output_scanline * stride;
      jpeg_read_scanlines(&jpeg_, &row, 1);
    }
    jpeg_finish_decompress(&jpeg_);
    if (errors_.num_warnings == 0) return true;
    errors_.output_message(reinterpret_cast<j_common_ptr>(&jpeg_));
    return false;
  }

  std::int64_t width() const { return jpeg_.output_width; }
  std::int64_t height() const { return jpeg_.output_height; }
  PixelFormat format() const { return jpeg_.output_components == 1 ? PixelFormat::gray8 : PixelFormat::rgb8; }
  const char* message() const { return message_; }

 private:
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  std::jmp_buf failed_{};
  char message_[JMSG_LENGTH_MAX] = "it is damaged";
  std::FILE* file_;
};

SharedImage read_jpeg(const fs::path& file, std::FILE* opened) {
  Jpeg jpeg(opened);
  if (!jpeg.start()) refuse(file, jpeg.message());
  SharedImage image = make(file, jpeg.width(), jpeg.height(), jpeg.format());
  if (!jpeg.finish(bytes_of(image), static_cast<std::size_t>(image.meta().row_bytes()))) {
    SharedImage::remove(image.id());
    refuse(file, jpeg.message());
  }
  return image;
}

}  // namespace

SharedImage read_picture(const fs::path& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(std::fopen(file.c_str(), "rbe"), std::fclose);
  if (!opened) throw io_error(file.string(), errno);
  unsigned char head[2] = {};
  if (std::fread(head, 1, sizeof head, opened.get()) < sizeof head) refuse(file, "is no PNG or JPEG file");
  std::rewind(opened.get());
  if (head[0] == 0x89 && head[1] == 'P') return read_png(file);
  if (head[0] == 0xff && head[1] == 0xd8) return read_jpeg(file, opened.get());
  refuse(file, "is no PNG or JPEG file");
}

}  // namespace sojourn::cli
