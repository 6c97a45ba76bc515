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

// The guard's name on the board; a NameError gives it in quotes.
inline constexpr std::string_view guard_name = "_j";

// A call of the guard: `function`, an expression such as exec or eval, gets `code` as bytes.
std::string checked_call(std::string_view code, std::string_view function);

// What the guard prints before the run, where the line end follows, as the board writes it; and after it, where the
// repr of the value and another line end follow.
inline constexpr std::string_view begin_mark = "\6";
std::string end_mark(std::string_view code);

// `bytes` as a bytes literal of Python, in printable ASCII.
std::string bytes_literal(std::string_view bytes);

// The hash of a file's content: every byte and its place count, and two contents have the same by chance once in
// 10^9. The board takes `content_group` bytes at once, as one integer.
inline constexpr std::size_t content_group = 128;
std::uint32_t content_hash(std::string_view bytes);

}  // namespace sojourn::device
