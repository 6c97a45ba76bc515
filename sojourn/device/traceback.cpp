#include "sojourn/device/traceback.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <ranges>

#include "sojourn/device/checked_code.hpp"

namespace sojourn::device {

namespace {

// MicroPython raises OSError for files and for devices alike; its message begins with a number of errno.h.
struct FailureClass {
  std::string_view type;     // the exception's; "" for any
  std::string_view message;  // what it begins with, where that matters
  std::string_view name;
  bool retryable;
  std::string_view advice;
};

constexpr std::array classes = {
    FailureClass{"SyntaxError", "", "syntax", false, "Correct the code."},
    FailureClass{"IndentationError", "", "syntax", false, "Correct the code."},
    FailureClass{"ImportError", "", "import", false, "The board lacks the module: copy it there, or do without."},
    FailureClass{"MemoryError", "", "memory", false,
                 "The board's heap is full: send less at once, or reset the board."},
    FailureClass{"KeyboardInterrupt", "", "interrupted", true, "The code was interrupted; call again."},
    FailureClass{"OSError", "[Errno 110", "timeout", true,
                 "A device on the board did not answer in time; call again."},
    FailureClass{"OSError", "110", "timeout", true, "A device on the board did not answer in time; call again."},
    FailureClass{"OSError", "[Errno 5]", "device", true,
                 "A device on the board failed; check its wires, call again."},
    FailureClass{"OSError", "[Errno 19]", "device", true,
                 "A device on the board is absent; check its wires, call again."},
    FailureClass{"OSError", "[Errno 16]", "device", true, "A device on the board is busy; call again."},
    FailureClass{"OSError", "", "file_system", false, "Check the path, and the room that the board has left."},
    FailureClass{"", "", "runtime", false, "Correct the code, or what it is called with."},
};

const FailureClass& class_of(const Traceback& traceback) {
  return *std::ranges::find_if(classes, [&](const FailureClass& each) {
    return each.type.empty() || (each.type == traceback.type && traceback.message.starts_with(each.message));
  });
}

// `  File "<string>", line 3, in read`
std::optional<Frame> parse_frame(std::string_view line) {
  constexpr std::string_view file = "  File \"";
  constexpr std::string_view number = "\", line ";
  constexpr std::string_view function = ", in ";
  if (!line.starts_with(file)) return std::nullopt;
  line.remove_prefix(file.size());
  const std::size_t end = line.find(number);
  if (end == line.npos) return std::nullopt;
  Frame frame{.file = std::string(line.substr(0, end))};
  line.remove_prefix(end + number.size());
  std::from_chars(line.data(), line.data() + line.size(), frame.line);
  if (const std::size_t in = line.find(function); in != line.npos) frame.function = line.substr(in + function.size());
  return frame;
}

}  // namespace

Traceback parse_traceback(std::string_view text) {
  Traceback traceback;
  bool in_frames = false;
  std::string rest;
  for (const auto part : std::views::split(text, '\n')) {
    const std::string_view line(part.begin(), part.end());
    if (line.ends_with("Traceback (most recent call last):")) {  // what was before is a thread's
      traceback.frames.clear();
      rest.clear();
      in_frames = true;
      continue;
    }
    auto frame = in_frames && rest.empty() ? parse_frame(line) : std::nullopt;
    if (!frame) {
      rest += rest.empty() ? "" : "\n";
      rest += line;
    } else if (frame->function == guard_name || frame->file == "<stdin>") {
      traceback.frames.clear();  // it and what called it are how the code was run
    } else {
      traceback.frames.push_back(std::move(*frame));
    }
  }
  while (rest.ends_with('\n')) rest.pop_back();
  const std::size_t colon = rest.find(':');
  traceback.type = rest.substr(0, colon);
  if (colon != rest.npos) traceback.message = rest.substr(std::min(colon + 2, rest.size()));
  return traceback;
}

void map_to_host(Traceback& traceback, const SourcePlace& script,
                 const std::map<std::string, SourcePlace>& functions) {
  for (Frame& frame : traceback.frames) {
    if (frame.file != "<string>") continue;
    const auto found = functions.find(frame.function);
    const SourcePlace& place = found == functions.end() ? script : found->second;
    frame.file = place.file;
    frame.line += place.line - 1;
  }
}

Error to_error(const Traceback& traceback) {
  const FailureClass& failure = class_of(traceback);
  JsonArray frames;
  for (const Frame& frame : traceback.frames) {
    frames.push_back(JsonObject{
        {"file", to_valid_utf8(frame.file)}, {"line", frame.line}, {"function", to_valid_utf8(frame.function)}});
  }
  std::string message = traceback.type.empty() ? "the board's code failed" : traceback.type;
  if (!traceback.message.empty()) message += ": " + traceback.message;
  if (!traceback.frames.empty()) {
    const Frame& last = traceback.frames.back();
    message += fmt::format(" ({}:{}", last.file, last.line);
    message += last.function.empty() || last.function == "<module>" ? ")" : fmt::format(", in {})", last.function);
  }
  JsonObject details{{"type", to_valid_utf8(traceback.type)},
                     {"message", to_valid_utf8(traceback.message)},
                     {"class", failure.name},
                     {"advice", failure.advice},
                     {"frames", std::move(frames)}};
  if (!traceback.begun) details["begun"] = false;
  Error error(ErrorCode::app_error, to_valid_utf8(message), std::move(details));
  error.set_retryable(failure.retryable);
  return error;
}

}  // namespace sojourn::device
