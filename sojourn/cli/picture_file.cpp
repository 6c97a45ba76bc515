#include "sojourn/cli/picture_file.hpp"

// Before the decoders' own headers, which need it.
#include <cstdio>
//
#include <fmt/format.h>
#include <jpeglib.h>
#include <png.h>

#include <bit>
#include <cerrno>
#include <csetjmp>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/steps/step_error.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;
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

// libpng and libjpeg end a failed call by a jump, over frames that own nothing: those of start() and finish().
//
// Values are taken as the file has them: no gamma is undone, and 16 bits stay 16.
class Png {
 public:
  explicit Png(std::FILE* file)
      : png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, [](png_structp, png_const_charp) {})),
        info_(png_create_info_struct(png_)),
        file_(file) {
    if (info_ == nullptr) throw std::bad_alloc();
  }
  ~Png() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  bool start() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_init_io(png_, file_);
    png_read_info(png_, info_);
    png_set_expand(png_);  // a palette and less than 8 bits, to 8; a transparent colour, to alpha
    png_set_interlace_handling(png_);
    const bool has_alpha = (png_get_color_type(png_, info_) & PNG_COLOR_MASK_ALPHA) != 0 ||
                           png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
    if (has_alpha) png_set_gray_to_rgb(png_);
    if (std::endian::native == std::endian::little) png_set_swap(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  // Nothing where no pixel format is the file's.
  std::optional<PixelFormat> format() const {
    const int type = png_get_color_type(png_, info_);
    if (bits() == 16) return type == PNG_COLOR_TYPE_GRAY ? std::optional(PixelFormat::gray16) : std::nullopt;
    if ((type & PNG_COLOR_MASK_ALPHA) != 0) return PixelFormat::rgba8;
    return type == PNG_COLOR_TYPE_GRAY ? PixelFormat::gray8 : PixelFormat::rgb8;
  }

  bool finish(unsigned char* rows, std::size_t stride) {
    rows_.resize(png_get_image_height(png_, info_));
    for (std::size_t y = 0; y < rows_.size(); ++y) rows_[y] = rows + y * stride;
    return read_rows();
  }

  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  int bits() const { return png_get_bit_depth(png_, info_); }
  int channels() const { return png_get_channels(png_, info_); }
  const std::string& message() const { return message_; }

 private:
  [[noreturn]] static void fail(png_structp png, png_const_charp message) {
    static_cast<Png*>(png_get_error_ptr(png))->message_ = message;
    png_longjmp(png, 1);
  }

  bool read_rows() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows_.data());
    png_read_end(png_, nullptr);
    return true;
  }

  png_structp png_;
  png_infop info_;
  std::vector<unsigned char*> rows_;
  std::string message_;
  std::FILE* file_;
};

SharedImage read_png(const fs::path& file, std::FILE* opened) {
  Png png(opened);
  if (!png.start()) refuse(file, png.message());
  const std::optional<PixelFormat> format = png.format();
  if (!format) {
    refuse(file,
           fmt::format("has {} bits in each of {} channels; with 16 bits only one of grey can be taken (gray16)",
                       png.bits(), png.channels()));
  }
  SharedImage image = make(file, png.width(), png.height(), *format);
  if (!png.finish(bytes_of(image), static_cast<std::size_t>(image.meta().row_bytes()))) {
    SharedImage::remove(image.id());
    refuse(file, png.message());
  }
  return image;
}

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
  if (std::fseek(opened.get(), 0, SEEK_SET) != 0) throw io_error(file.string(), errno);
  if (head[0] == 0x89 && head[1] == 'P') return read_png(file, opened.get());
  if (head[0] == 0xff && head[1] == 0xd8) return read_jpeg(file, opened.get());
  refuse(file, "is no PNG or JPEG file");
}

}  // namespace sojourn::cli
