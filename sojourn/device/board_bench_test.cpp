#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

const std::filesystem::path source_folder = SOJOURN_SOURCE;
const std::filesystem::path firmware = "/usr/share/firmware-microbit-micropython/firmware.hex";
const std::filesystem::path packages = source_folder / "build/devices";

std::string node(std::string_view options) {
  return "subprocess:node '" + (source_folder / "tests/devices/wasm_board.mjs").string() + "' '" + packages.string() +
         "' " + std::string(options);
}

}  // namespace

Kind microbit() {
  return {"microbit",
          "subprocess:qemu-system-arm -M microbit -device loader,file=" + firmware.string() +
              " -display none -monitor none -serial stdio",
          firmware, "microbit"};
}

Kind webassembly() {
  return {"webassembly", node(""), packages / "installed.json", "webassembly"};
}

Kind webassembly_with_paste() {
  return {"webassembly_with_paste", node("--paste"), packages / "installed.json", "webassembly"};
}

Kind stand_in_with_threads(std::string_view options) {
  const std::string script = (source_folder / "tests/devices/thread_board.py").string();
  return {"stand_in_with_threads", "subprocess:/usr/bin/python3 -S '" + script + "' " + std::string(options),
          "/usr/bin/python3", "linux"};
}

}  // namespace sojourn::device
