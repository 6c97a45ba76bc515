#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "sojourn/steps/image_meta.hpp"

// A picture in POSIX shared memory: whoever takes it writes it there, and the algorithm's process reads the same
// pages.
//
// It is known by its id, which goes with a call as shared_mem_id beside its image_meta. The session that is called
// with it owns it from then on and removes it; until then it is its maker's to remove.
namespace sojourn::steps {

// Lifetime: the pixels may be read as long as the object lives, also when the image was removed meanwhile. Who makes
//           the memory shorter while others read it ends their processes (SIGBUS).
class SharedImage {
 public:
  // Makes one of `meta`'s size, all zero, with an id that nobody has. Errors: those of ImageMeta::check;
  // sojourn::Error io_error.
  static SharedImage create(ImageMeta meta);

  // Opens one that `meta` (a call's image_meta) describes, and verifies its size and, where one is declared, its
  // checksum.
  // Errors: StepError: image_not_found; image_load_failed for one that is shorter than declared or has another
  //         checksum; those of ImageMeta::from_json. There never is a picture in place of one that cannot be had.
  // Cost:   no byte is copied: some 20 us. The kernel maps each page as it is touched, 12 MB in about 1 ms, and a
  //         checksum reads them all in another.
  static SharedImage open(const std::string& id, const JsonObject& meta);

  // Whether there was such an image.
  // Errors: StepError image_not_found for what is no id of an image; sojourn::Error io_error where it cannot be
  // removed.
  static bool remove(const std::string& id);

  SharedImage(SharedImage&& other) noexcept;
  SharedImage& operator=(SharedImage&& other) noexcept;
  ~SharedImage();

  const std::string& id() const { return id_; }
  const ImageMeta& meta() const { return meta_; }

  // All rows. Only its maker may write, and none may once it has gone with a call.
  std::span<const std::byte> bytes() const { return {data_, meta_.bytes()}; }
  std::span<std::byte> writable();
  std::span<const std::byte> row(std::int64_t y) const;

  // The image_meta to send along, with the checksum of what was written.
  JsonObject describe() const;

 private:
  SharedImage(std::string id, ImageMeta meta, std::byte* data, bool is_writable)
      : id_(std::move(id)), meta_(meta), data_(data), is_writable_(is_writable) {}

  std::string id_;
  ImageMeta meta_;
  std::byte* data_;  // mapped; null once moved from
  bool is_writable_;
};

// Whether `id` is one that create() may have made: no other shared memory is opened or removed.
bool is_image_id(std::string_view id);

}  // namespace sojourn::steps
