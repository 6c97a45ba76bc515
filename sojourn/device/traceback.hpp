#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/error.hpp"

// What a board says when its code raised, in the words of the host.
namespace sojourn::device {

// Where a piece of code that was sent begins on the host.
struct SourcePlace {
  std::string file;
  int line = 1;  // of the code's first line
};

struct Frame {
  std::string file;
  int line = 0;
  std::string function;
};

struct Traceback {
  std::vector<Frame> frames;  // outermost first; without those of the guard
  std::string type;           // "ValueError"
  std::string message;
  bool begun = true;  // false where the board could not even take the code, and raised this itself
};

// Shape: any text; what is no traceback becomes a type and a message.
Traceback parse_traceback(std::string_view text);

// Puts the host's places in: of each frame of sent code ("<string>") that of the function in `functions`, or else
// `script`.
void map_to_host(Traceback& traceback, const SourcePlace& script,
                 const std::map<std::string, SourcePlace>& functions);

// The app_error that says so: message "ValueError: no such pin (pins.py:12, in read)", details "type", "message",
// "frames", "class" and "advice", and "begun": false of code that did not begin. Retryable only for what passes:
// interruptions, time-outs and devices that do not answer.
//
// The classes: syntax, import, memory, file_system, timeout, device, interrupted, runtime.
Error to_error(const Traceback& traceback);

}  // namespace sojourn::device
