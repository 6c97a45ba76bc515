#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Code that a board checks before it runs it.
//
// Boards lose bytes when much is sent at once, and what is left often runs all the same, with another result. So code
// travels as a literal with its length and hash, to a function on the board (the guard), which runs nothing that was
// damaged. It frames what the code prints with marks that bear the run's number, so that neither a byte 04 in the
// output nor the noise of another thread can be taken for the end. It needs no modules, only integers of any size.
namespace sojourn::device {

// Defines the guard in a board's main module, and prints what it was defined from as guard_receipt(): a guard that
// was damaged itself could run code and not say so. A board that forgot it has started anew.
std::string_view guard_script();
std::string_view guard_receipt();

// The guard's name on the board, in quotes, as a NameError gives it.
inline constexpr std::string_view guard_name = "'_sojourn'";

// A call of the guard with `code`: statements, or with `wants_value` one expression.
std::string checked_call(std::uint32_t number, std::string_view code, bool wants_value);

// What the guard prints before and after run `number`: after the first comes a line end, as the board writes it.
std::string run_mark(std::uint32_t number);

// `bytes` as a bytes literal of Python, in printable ASCII.
std::string bytes_literal(std::string_view bytes);

// The hash that the guard computes: every byte and its place count. Two texts of equal length have the same by chance
// once in 10^9.
std::uint32_t guard_hash(std::uint32_t number, std::string_view code);

}  // namespace sojourn::device
