#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/flow/context.hpp"

// Prompt templates: text whose {key}s are filled in from a flow's context.
//
//   {key}                 the value: a string as it is, null as None, anything else as JSON. The key is verbatim,
//   blanks too {key:}                likewise
//   {{ and }}             { and }
//   {missing}             left as written, if there is no such key
//   {} {a.b} {a[0]} {a!r} {a:spec}   left as written: a template reads no attributes and formats nothing
//
// A template with braces that do not match is returned as it is. Values are not templates: what they contain is not
// filled in. Source: the reference's section 1.9.
namespace sojourn::flow {

using Lookup = std::function<std::optional<Json>(std::string_view key)>;

// Lookup: whatever it throws.
std::string fill_template(std::string_view text, const Lookup& lookup);
std::string fill_template(std::string_view text, const Context& context);

// The fields of a template that are no bare keys, as written: those that no context fills in.
std::vector<std::string> odd_fields(std::string_view text);

// A template that is filled in to `text`, whatever the context: each brace twice.
std::string escape_braces(std::string_view text);

}  // namespace sojourn::flow
