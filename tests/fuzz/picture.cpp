// Files of pictures: each is a picture in shared memory as it says it is, or refused in a text that can be shown.

#include "sojourn/cli/picture_file.hpp"

#include "as_file.hpp"
#include "sojourn/base/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const AsFile input("picture");
  input.write(data, size);
  try {
    const sojourn::steps::SharedImage image = sojourn::cli::read_picture(input.file());
    const auto& meta = image.meta();
    expect(sojourn::steps::SharedImage::remove(image.id()), "the picture is in shared memory");
    expect(image.row(meta.height - 1).size() == static_cast<std::size_t>(meta.width * meta.pixel_bytes()),
           "it has all its rows");
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::invalid_request, "a refusal is an invalid_request");
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
  }
  return 0;
}
