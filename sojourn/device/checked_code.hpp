#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Code that a board checks before it runs it.
//
// Boards lose bytes when much is sent at once, and what is left often runs all the same, with another result. So code
// travels as a literal with its hash to a function on the board (the guard), which runs nothing that was damaged. It
// frames what the code prints with marks, so that neither a byte 04 in the output nor the noise of another thread can
// be taken for the end. It needs no modules, only integers of any size; and it is short, for a small board takes some
// microseconds for each byte.
namespace sojourn::device {

// Defines the guard in a board's main module, and prints what it was defined from as guard_receipt(): a guard that
// was damaged itself could run code and not say so. A board that forgot it has started anew. What stays is made after
// the garbage was collected, where the heap begins: a small one in pieces has no room to read code any more.
std::string_view guard_script();
std::string_view guard_receipt();

// The guard's name on the board; a NameError gives it in quotes. The names of handles begin with it.
inline constexpr std::string_view guard_name = "_j";

struct CheckedCode {
  std::string text;      // to send
  std::string end_mark;  // what the guard prints after the run, where a value's repr and a line end follow
};

// What the guard prints before the run.
inline constexpr std::string_view begin_mark = "\6";

// Definitions are statements of which much stays on the board: the garbage is collected before.
enum class CodeKind { expression, statements, definitions };

// A call of the guard, of which every byte that decides what runs is hashed: the code, and what it is.
CheckedCode checked_code(std::string_view code, CodeKind kind);

// Defines handle number `handle`, by which `function` is called with values that the guard checks: a call that is as
// short as it can be, and that the board need not compile twice.
std::string handle_script(std::size_t handle, std::string_view function);

// A call by a handle. `values` are literals with commas between, `repr` what the board writes for their tuple.
CheckedCode checked_call(std::size_t handle, std::string_view values, std::string_view repr);

// Likewise, but `function` is called with bytes, which take up the board's memory only once.
std::string bytes_handle_script(std::size_t handle, std::string_view function);
CheckedCode checked_bytes(std::size_t handle, std::string_view bytes);

// `bytes` as a bytes literal of Python, in printable ASCII and perhaps line ends.
std::string bytes_literal(std::string_view bytes);

// The hash of a file's content: every byte and its place count, and two contents have the same by chance once in
// 10^9. The board takes `content_group` bytes at once, as one integer.
inline constexpr std::size_t content_group = 128;
std::uint32_t content_hash(std::string_view bytes);

}  // namespace sojourn::device
