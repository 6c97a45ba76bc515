#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>

#include "sojourn/steps/algorithm.hpp"
#include "sojourn/steps/step_runner.hpp"

// What an inspection algorithm costs beside its own work.
namespace sojourn::bench {
namespace {

class NoRecorder final : public steps::Recorder {
 public:
  void log(LogLevel, std::string_view, JsonObject) override {}
  void step_finished(JsonObject record) override { benchmark::DoNotOptimize(record); }
};

// Seed 000's example: a hook keeps the start of the step, the other publishes its latency.
class Stopwatch final : public steps::Algorithm {
 public:
  steps::Info get_info() const override {
    return {.name = "stopwatch",
            .version = "1",
            .steps = {{.name = "shot", .params = {{.key = "limit", .type = steps::ParameterType::integer}}}}};
  }
  void on_step_start(int, session::Session& session, const JsonObject&) override { session.set("step_start_ms", 12); }
  void on_step_finish(int, session::Session& session, const steps::Result&) override {
    diagnostics.publish("latency_ms", 20 - session.get("step_start_ms")->as_int64());
  }
  steps::Result execute(const steps::Shot&, session::Session&) override { return steps::Result::good(); }
};

// Both phases, both hooks, state, checks and the record; an algorithm that does nothing else.
void step_in_process(benchmark::State& run) {
  NoRecorder recorder;
  SystemClock clock;
  session::Session session("s-1", {{"trace_id", "t"}});
  steps::StepRunner runner([] { return std::make_unique<Stopwatch>(); }, recorder, clock);
  const steps::StepInput input{.step_index = 1, .pid = "A01", .user_params = {{"limit", 7}}};
  for (auto _ : run) benchmark::DoNotOptimize(runner.run_step(session, input).result.ok);
}
BENCHMARK(step_in_process);

// A picture of 4 megapixels in three channels.
class Picture {
 public:
  Picture() : image_(steps::SharedImage::create({.width = 2048, .height = 2048})) {
    std::ranges::fill(image_.writable(), std::byte{90});
  }
  ~Picture() { steps::SharedImage::remove(image_.id()); }
  const steps::SharedImage& image() const { return image_; }

 private:
  steps::SharedImage image_;
};

// Until the algorithm has the picture and reads its first pixel.
void picture_from_shared_memory(benchmark::State& run) {
  const Picture picture;
  const JsonObject meta = picture.image().meta().to_json();
  for (auto _ : run) {
    const steps::SharedImage seen = steps::SharedImage::open(picture.image().id(), meta);
    benchmark::DoNotOptimize(seen.row(0)[0]);
  }
}
BENCHMARK(picture_from_shared_memory);

// Until it has touched every page of it, which the kernel maps as they are touched.
void picture_from_shared_memory_touched(benchmark::State& run) {
  const Picture picture;
  const JsonObject meta = picture.image().meta().to_json();
  for (auto _ : run) {
    const steps::SharedImage seen = steps::SharedImage::open(picture.image().id(), meta);
    for (std::size_t at = 0; at < seen.bytes().size(); at += 4096) benchmark::DoNotOptimize(seen.bytes()[at]);
  }
}
BENCHMARK(picture_from_shared_memory_touched);

void picture_with_checksum(benchmark::State& run) {
  const Picture picture;
  const JsonObject meta = picture.image().describe();
  for (auto _ : run) {
    const steps::SharedImage seen = steps::SharedImage::open(picture.image().id(), meta);
    benchmark::DoNotOptimize(seen.row(0)[0]);
  }
}
BENCHMARK(picture_with_checksum);

constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The other way to send it: base64 in JSON, written once, read once and decoded. Its ways over two sockets are left
// out.
void picture_as_base64(benchmark::State& run) {
  const std::size_t bytes = 2048 * 2048 * 3;
  std::array<std::uint8_t, 256> values{};
  for (std::size_t i = 0; i < letters.size(); ++i) values[static_cast<unsigned char>(letters[i])] = i & 0xFF;
  std::vector<std::uint8_t> pixels(bytes, 90);
  for (auto _ : run) {
    std::string sent;
    sent.reserve(bytes / 3 * 4);
    for (std::size_t i = 0; i < bytes; i += 3) {
      const std::uint32_t bits = pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2];
      for (const int shift : {18, 12, 6, 0}) sent.push_back(letters[bits >> shift & 63]);
    }
    const std::string text = to_text(JsonObject{{"image", sent}}, {.bytes = 2 * bytes});
    const JsonObject json = parse_json_object(text, {.bytes = text.size()});
    const std::string_view coded = json.at("image").as_string();
    for (std::size_t i = 0, out = 0; i < coded.size(); i += 4, out += 3) {
      std::uint32_t bits = 0;
      for (std::size_t k = 0; k < 4; ++k) bits = bits << 6 | values[static_cast<unsigned char>(coded[i + k])];
      pixels[out] = static_cast<std::uint8_t>(bits >> 16);
      pixels[out + 1] = static_cast<std::uint8_t>(bits >> 8);
      pixels[out + 2] = static_cast<std::uint8_t>(bits);
    }
    benchmark::DoNotOptimize(pixels.data());
  }
}
BENCHMARK(picture_as_base64);

}  // namespace
}  // namespace sojourn::bench
