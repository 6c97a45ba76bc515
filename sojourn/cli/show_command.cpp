#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/stored.hpp"
#include "sojourn/cli/timeline.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::cli {

namespace {

constexpr std::size_t events_at_once = 256;
constexpr std::size_t columns = 32;
constexpr std::size_t label_width = 28;

Colour colour_of(Span::Kind kind) {
  switch (kind) {
    case Span::Kind::stage:
      return Colour::bold;
    case Span::Kind::work:
      return Colour::green;
    case Span::Kind::failure:
      return Colour::red;
    default:
      return Colour::none;
  }
}

// Draws a session's journal line by line, as it is read.
class Timeline {
 public:
  Timeline(Console& console, const store::SessionRecord& record, bool all)
      : console_(console),
        all_(all),
        from_(record.created_at),
        to_(std::max(record.head.updated_at, record.created_at)) {}

  void head(const store::SessionRecord& record) {
    const store::SessionHead& head = record.head;
    const bool failed = head.status == store::SessionStatus::failed;
    if (console_.json) {
      console_.out << "[";
      return;
    }
    console_.out << paint(console_, Colour::bold, printable(record.id)) << "  "
                 << paint(console_, failed ? Colour::red : Colour::none, store::to_string(head.status)) << "  "
                 << printable(fmt::format("stage {}", head.stage))
                 << printable(record.app.empty() ? "" : "  app " + record.app)
                 << printable(record.user.empty() ? "" : "  user " + record.user) << '\n'
                 << fmt::format("{}  to  {}  {}, {} events{}\n\n", format_time(from_), format_time(to_),
                                duration_text(to_ - from_), head.chain.seq, head.signature.empty() ? "" : ", signed");
  }

  void add(const store::Event& event) {
    std::optional<Span> span;
    try {
      span = span_of(parse_json_object(event.body, {.depth = limits::json_depth + 2}), all_);
    } catch (const std::exception& error) {
      span = Span{.kind = Span::Kind::failure,
                  .start = to_,
                  .end = to_,
                  .label = fmt::format("event {}", event.seq),
                  .note = fmt::format("cannot be read: {}", to_valid_utf8(error.what()))};
    }
    if (!span) return;
    ++(span->kind == Span::Kind::failure ? failures_ : rest_);
    if (console_.json) {
      tell_json(*span);
    } else {
      draw(*span);
    }
  }

  void end() {
    if (console_.json) {
      console_.out << "]\n";
    } else if (failures_ > 0) {
      console_.out << '\n' << paint(console_, Colour::red, fmt::format("{} failed", failures_)) << '\n';
    }
  }

 private:
  void draw(const Span& span) {
    const Colour colour = colour_of(span.kind);
    console_.out << fmt::format("{:>12}  ", "+" + duration_text(span.start - from_))
                 << paint(console_, colour, bar_of(span, from_, to_, columns))
                 << fmt::format("  {:<{}}  ", printable(span.label), label_width)
                 << paint(console_, span.kind == Span::Kind::failure ? colour : Colour::none, printable(span.note))
                 << '\n';
  }

  void tell_json(const Span& span) {
    constexpr std::string_view kinds[] = {"point", "stage", "work", "failure"};
    console_.out << (failures_ + rest_ > 1 ? "," : "")
                 << to_text(JsonObject{{"start", format_time(span.start)},
                                       {"us", (span.end - span.start).count()},
                                       {"kind", kinds[static_cast<std::size_t>(span.kind)]},
                                       {"label", to_valid_utf8(span.label)},
                                       {"note", to_valid_utf8(span.note)}});
  }

  Console& console_;
  const bool all_;
  const Time from_;
  const Time to_;
  std::uint64_t failures_ = 0;
  std::uint64_t rest_ = 0;
};

Async<void> show(store::Store& store, const ShowOptions& options, Console& console) {
  const std::optional<store::Snapshot> snapshot = co_await store.load(options.session);
  if (!snapshot) throw store::session_unknown(options.session);
  Timeline timeline(console, snapshot->record, options.all);
  timeline.head(snapshot->record);
  const std::uint64_t newest = snapshot->record.head.chain.seq;
  for (std::uint64_t from = 1; from <= newest;) {
    const std::vector<store::Event> events = co_await store.events(options.session, from, events_at_once);
    if (events.empty()) break;
    for (const store::Event& event : events) {
      if (event.seq <= newest) timeline.add(event);
    }
    from = events.back().seq + 1;
  }
  timeline.end();
}

}  // namespace

ExitCode show_trail(const ShowOptions& options, const Settings& settings, Console& console) {
  read_store(settings, [&](store::Store& store) { return show(store, options, console); });
  return ExitCode::ok;
}

}  // namespace sojourn::cli
