// Frames: wherever the stream is cut, the same frames come out of it, and the same refusal. What a frame holds is
// read as either side reads it.

#include "sojourn/worker/frame.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "expect.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/worker/frames_to_server.hpp"
#include "sojourn/worker/frames_to_worker.hpp"

namespace {

constexpr std::size_t max_frame_bytes = 4096;

struct Found {
  std::vector<sojourn::JsonObject> frames;
  bool refused = false;

  bool operator==(const Found&) const = default;
};

// That `read` takes what the frame holds, or refuses it as a breach of the protocol.
template <class F>
void check(F read) {
  try {
    read();
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::protocol_error, "a refusal is a protocol_error");
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
  }
}

// Each reader takes what it wants out of the frame; those that follow find the rest.
void read_all(sojourn::worker::Frame frame) {
  using namespace sojourn::worker;
  check([&] { read_level(frame); });
  check([&] { read_app_error(frame); });
  check([&] { read_close(frame); });
  check([&] { read_resource(frame); });
  check([&] { read_error(frame); });
  check([&] { read_changes(frame); });
  check([&] { read_call(frame, {}); });
  check([&] { read_opening(frame); });
}

Found decode(std::string_view stream, std::size_t piece) {
  Found found;
  sojourn::worker::FrameDecoder decoder(max_frame_bytes);
  try {
    while (!stream.empty()) {
      const auto room = decoder.room();
      expect(!room.empty(), "there is room for more");
      const std::size_t count = std::min({piece, room.size(), stream.size()});
      std::ranges::copy(stream.substr(0, count), room.begin());
      decoder.filled(count);
      stream.remove_prefix(count);
      while (auto frame = decoder.next()) {
        expect(frame->bytes() <= max_frame_bytes, "a frame keeps the limit");
        found.frames.push_back(frame->fields());
        read_all(std::move(*frame));
      }
    }
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::protocol_error, "a refusal is a protocol_error");
    found.refused = true;
  }
  return found;
}

}  // namespace

// The first byte says how large the pieces are that the rest comes in.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  expect(decode(stream, data[0] % 64 + 1u) == decode(stream, size), "pieces do not matter");
  return 0;
}
