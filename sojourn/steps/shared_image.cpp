#include "sojourn/steps/shared_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/steps/crc32.hpp"
#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

namespace {

constexpr std::string_view id_prefix = "sojourn-image-";
constexpr std::size_t longest_id = 128;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

Descriptor open_shm(const std::string& id, int flags) {
  return Descriptor(::shm_open(("/" + id).c_str(), flags, 0644));
}

// Null where it cannot be; outlives the descriptor.
std::byte* map(const Descriptor& shm, std::size_t bytes, int protection) {
  void* data = ::mmap(nullptr, bytes, protection, MAP_SHARED, shm.get(), 0);
  return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
}

void check_id(const std::string& id) {
  if (is_image_id(id)) return;
  if (id.empty()) {
    throw StepError(StepCode::image_not_found, "shared_mem_id: is missing; the step was given no picture");
  }
  throw StepError(StepCode::image_not_found,
                  fmt::format("shared_mem_id: \"{}\" is no id of an image; it starts with {}", id, id_prefix));
}

}  // namespace

bool is_image_id(std::string_view id) {
  return id.starts_with(id_prefix) && id.size() <= longest_id && std::ranges::all_of(id, is_plain);
}

SharedImage SharedImage::create(ImageMeta meta) {
  meta.check();
  std::string id(id_prefix);
  id += SystemRandom().hex(16);
  const Descriptor shm = open_shm(id, O_RDWR | O_CREAT | O_EXCL);
  if (!shm) throw io_error("shared memory for an image", errno);
  // Taken at once, so that a full memory is an error here and no signal at the first write.
  const int error = ::posix_fallocate(shm.get(), 0, static_cast<off_t>(meta.bytes()));
  std::byte* data = error == 0 ? map(shm, meta.bytes(), PROT_READ | PROT_WRITE) : nullptr;
  if (data == nullptr) {
    const int reason = error != 0 ? error : errno;
    remove(id);
    throw io_error("shared memory for an image", reason);
  }
  return {std::move(id), meta, data, true};
}

SharedImage SharedImage::open(const std::string& id, const JsonObject& json) {
  check_id(id);
  const ImageMeta meta = ImageMeta::from_json(json);
  const Descriptor shm = open_shm(id, O_RDONLY);
  if (!shm) {
    throw StepError(StepCode::image_not_found,
                    fmt::format("shared_mem_id: {} cannot be opened: {}", id, std::strerror(errno)));
  }
  struct stat found{};
  ::fstat(shm.get(), &found);
  if (static_cast<std::size_t>(found.st_size) < meta.bytes()) {
    throw StepError(StepCode::image_load_failed,
                    fmt::format("{} has {} bytes; its image_meta declares {}", id, found.st_size, meta.bytes()));
  }
  std::byte* data = map(shm, meta.bytes(), PROT_READ);
  if (data == nullptr) throw StepError(StepCode::image_load_failed, fmt::format("{} cannot be mapped", id));
  SharedImage image(id, meta, data, false);
  if (meta.checksum && crc32(image.bytes()) != *meta.checksum) {
    throw StepError(StepCode::image_load_failed, fmt::format("{} has another checksum than is declared", id));
  }
  return image;
}

bool SharedImage::remove(const std::string& id) {
  check_id(id);
  if (::shm_unlink(("/" + id).c_str()) == 0) return true;
  if (errno != ENOENT) throw io_error(id, errno);
  return false;
}

SharedImage::SharedImage(SharedImage&& other) noexcept
    : id_(std::move(other.id_)),
      meta_(other.meta_),
      data_(std::exchange(other.data_, nullptr)),
      is_writable_(other.is_writable_) {}

SharedImage& SharedImage::operator=(SharedImage&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(meta_, other.meta_);
  std::swap(data_, other.data_);
  std::swap(is_writable_, other.is_writable_);
  return *this;
}

SharedImage::~SharedImage() {
  if (data_ != nullptr) ::munmap(data_, meta_.bytes());
}

std::span<std::byte> SharedImage::writable() {
  assert(is_writable_);
  return {data_, meta_.bytes()};
}

std::span<const std::byte> SharedImage::row(std::int64_t y) const {
  assert(y >= 0 && y < meta_.height);
  return bytes().subspan(static_cast<std::size_t>(y * meta_.row_bytes()),
                         static_cast<std::size_t>(meta_.width * meta_.pixel_bytes()));
}

JsonObject SharedImage::describe() const {
  ImageMeta described = meta_;
  described.checksum = crc32(bytes());
  return described.to_json();
}

}  // namespace sojourn::steps
