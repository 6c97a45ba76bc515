#pragma once

#include <filesystem>

#include "sojourn/steps/shared_image.hpp"

namespace sojourn::cli {

// Decodes a PNG or JPEG file into shared memory: gray8, gray16, rgb8 or rgba8 as the file has it, with the values
// that it has. It is the caller's to remove. Errors: invalid_request for what is no such file, or damaged, or too
// large, or of 16 bits in colour; io_error.
steps::SharedImage read_picture(const std::filesystem::path& file);

}  // namespace sojourn::cli
