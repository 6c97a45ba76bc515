#include "sojourn/cli/flow_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <ostream>
#include <stdexcept>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/timeline.hpp"

namespace sojourn::cli {

namespace {

constexpr std::size_t bar_columns = 24;
constexpr std::size_t name_columns = 36;
constexpr std::size_t deepest_drawn = 12;  // what is deeper stands below the same place
constexpr std::size_t first_of_a_kind = 10;

// A call where it is to be drawn, or, of calls that are left out, the first and how many.
struct Line {
  const FlowCall* call;
  std::size_t depth;
  std::string branches;  // "|  `- "
  std::size_t left_out = 0;
};

using Children = std::map<std::uint64_t, std::vector<const FlowCall*>>;

class Tree {
 public:
  Tree(const std::vector<FlowCall>& calls, bool all) : all_(all) {
    for (const FlowCall& call : calls) {
      if (call.caller) {
        children_[*call.caller].push_back(&call);
      } else {
        roots_.push_back(&call);
      }
    }
  }

  // In the order in which they are drawn.
  std::vector<Line> lines() const {
    std::vector<Line> drawn;
    // What is still to come, last first, since a flow may be deeper than the stack.
    std::vector<Line> open = below(roots_, 0, "");
    while (!open.empty()) {
      drawn.push_back(std::move(open.back()));
      open.pop_back();
      const Line& line = drawn.back();
      const auto found = children_.find(line.call->id);
      if (line.left_out > 0 || found == children_.end()) continue;
      const std::string branches = line.depth < deepest_drawn ? continued(line.branches) : line.branches;
      std::vector<Line> next = below(found->second, line.depth + 1, branches);
      std::ranges::move(next, std::back_inserter(open));
    }
    return drawn;
  }

 private:
  bool is_one_of_many(const FlowCall& call) const {
    return call.status == "Completed" && !children_.contains(call.id);
  }

  // Last first.
  std::vector<Line> below(const std::vector<const FlowCall*>& calls, std::size_t depth,
                          const std::string& branches) const {
    std::vector<Line> lines;
    std::map<std::string, std::size_t> seen;
    std::map<std::string, std::size_t> counted;  // where the line is that counts those left out
    for (const FlowCall* call : calls) {
      if (all_ || !is_one_of_many(*call) || ++seen[call->node] <= first_of_a_kind) {
        lines.push_back({.call = call, .depth = depth});
        continue;
      }
      const auto [place, is_new] = counted.try_emplace(call->node, lines.size());
      if (is_new) lines.push_back({.call = call, .depth = depth});
      ++lines[place->second].left_out;
    }
    const bool is_flat = depth == 0 || depth > deepest_drawn;
    for (Line& line : lines) {
      if (depth > 0) line.branches = is_flat ? branches : branches + (&line == &lines.back() ? "`- " : "|- ");
    }
    std::ranges::reverse(lines);
    return lines;
  }

  // What stands above the calls of a call in its column: "|- " goes on as "|  ", "`- " as blanks.
  static std::string continued(std::string branches) {
    if (branches.ends_with("|- ")) return branches.replace(branches.size() - 3, 3, "|  ");
    if (branches.ends_with("`- ")) return branches.replace(branches.size() - 3, 3, "   ");
    return branches;
  }

  const bool all_;
  Children children_;
  std::vector<const FlowCall*> roots_;
};

Span span_of(const FlowCall& call) {
  return {.kind = call.status == "Failed" ? Span::Kind::failure : Span::Kind::work,
          .start = Time(call.start),
          .end = Time(call.start + call.duration)};
}

Time end_of(const std::vector<FlowCall>& calls) {
  Time end{};
  for (const FlowCall& call : calls) end = std::max(end, span_of(call).end);
  return end;
}

std::string xml_text(std::string_view text) {
  std::string allowed = printable(text);
  for (const char* const nonesuch : {"\xEF\xBF\xBE", "\xEF\xBF\xBF"}) {  // U+FFFE and U+FFFF
    for (std::size_t at = 0; (at = allowed.find(nonesuch, at)) != std::string::npos; at += 3) {
      allowed.replace(at, 3, "\xEF\xBF\xBD");
    }
  }
  std::string escaped;
  for (const char c : allowed) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

template <class T>
T number_at(const JsonObject& object, std::string_view field) {
  return object.at(field).to_number<T>();
}

}  // namespace

std::vector<FlowCall> calls_of(const Json& run) {
  std::vector<FlowCall> calls;
  try {
    for (const Json& json : run.at("calls").as_array()) {
      const JsonObject& object = json.as_object();
      FlowCall call{.id = number_at<std::uint64_t>(object, "call"),
                    .node = std::string(object.at("node").as_string()),
                    .status = std::string(object.at("status").as_string()),
                    .start = Microseconds(number_at<std::int64_t>(object, "start_us")),
                    .duration = Microseconds(number_at<std::int64_t>(object, "us"))};
      if (!calls.empty() && call.id <= calls.back().id)
        throw std::invalid_argument("a call's number is out of order");
      if (const Json* error = object.if_contains("error")) call.error = std::string(error->as_string());
      // Callers have lower numbers, so that no call is drawn below itself.
      if (!object.at("caller").is_null()) call.caller = number_at<std::uint64_t>(object, "caller");
      if (call.caller &&
          (*call.caller >= call.id || !std::ranges::binary_search(calls, *call.caller, {}, &FlowCall::id))) {
        call.caller.reset();
      }
      calls.push_back(std::move(call));
    }
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("what the server told of the flow is none: {}", error.what()));
  }
  return calls;
}

void draw_tree(Console& console, const std::vector<FlowCall>& calls, bool all) {
  const Time end = end_of(calls);
  for (const Line& line : Tree(calls, all).lines()) {
    if (line.left_out > 0) {
      console.out << fmt::format("{}... {} more of {}\n", line.branches, line.left_out, printable(line.call->node));
      continue;
    }
    const FlowCall& call = *line.call;
    const bool failed = call.status == "Failed";
    const Colour colour = failed ? Colour::red : call.status == "Open" ? Colour::yellow : Colour::green;
    const bool open = call.status == "Open";
    const std::string took = duration_text(call.duration);
    console.out << fmt::format("{:<{}}", line.branches + printable(call.node), name_columns)
                << fmt::format("{:>10}  ", took)
                << paint(console, colour, bar_of(span_of(call), Time(), end, bar_columns));
    if (open) console.out << "  " << paint(console, Colour::yellow, "open");
    if (failed) console.out << "  " << paint(console, Colour::red, printable("FAILED " + call.error));
    console.out << '\n';
  }
}

std::string svg_of(const std::vector<FlowCall>& calls, const std::string& title) {
  constexpr int width = 1'000;
  constexpr int row = 18;
  constexpr int names = 320;
  constexpr int indent = 12;
  const auto lines = Tree(calls, true).lines();
  const double whole = std::max<double>(1, static_cast<double>(end_of(calls).time_since_epoch().count()));
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<title>{}</title>\n",
      width, (lines.size() + 1) * row, xml_text(title));
  int y = 0;
  for (const Line& line : lines) {
    const FlowCall& call = *line.call;
    const double scale = (width - names) / whole;
    const double x = names + static_cast<double>(call.start.count()) * scale;
    const double length = std::max(1.0, static_cast<double>(call.duration.count()) * scale);
    const char* const colour = call.status == "Failed" ? "#c0392b" : call.status == "Open" ? "#d4ac0d" : "#2e86c1";
    svg += fmt::format(
        "<g><title>{}: {}, {}{}</title><text x=\"{}\" y=\"{}\">{}</text>"
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/></g>\n",
        xml_text(call.node), xml_text(call.status), duration_text(call.duration),
        xml_text(call.error.empty() ? "" : ", " + call.error), 4 + indent * std::min(line.depth, deepest_drawn),
        y + 13, xml_text(call.node), x, y + 3, length, row - 4, colour);
    y += row;
  }
  return svg + "</svg>\n";
}

}  // namespace sojourn::cli
