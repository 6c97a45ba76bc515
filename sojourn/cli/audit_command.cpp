#include <fmt/format.h>

#include <exception>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/verify.hpp"

namespace sojourn::cli {

namespace {

constexpr std::size_t sessions_at_once = 100;

JsonObject finding_json(const store::Finding& finding) {
  JsonObject json{{"kind", store::to_string(finding.kind)}, {"message", to_valid_utf8(finding.message)}};
  if (finding.seq != 0) json["seq"] = finding.seq;
  if (!finding.key.empty()) json["key"] = to_valid_utf8(finding.key);
  if (!finding.task.empty()) json["task"] = to_valid_utf8(finding.task);
  return json;
}

// Tells of each session as it comes, so that it needs no memory for those before.
class Teller {
 public:
  explicit Teller(Console& console) : console_(console) {}

  void tell(const store::VerifyReport& report) {
    if (console_.json) {
      tell_json(report);
    } else {
      const std::string verdict =
          report.ok() ? paint(console_, Colour::green, "ok") : paint(console_, Colour::red, "BROKEN");
      console_.out << fmt::format("{:<27}  {}  {}\n", printable(report.session_id), verdict, detail_of(report));
    }
    ++sessions_;
    events_ += report.events;
    if (!report.ok()) ++broken_;
  }

  ExitCode end() {
    if (console_.json) {
      console_.out << (sessions_ == 0 ? start : "")
                   << fmt::format("],\"ok\":{},\"broken\":{},\"events\":{}}}\n", broken_ == 0, broken_, events_);
    } else {
      console_.out << fmt::format("{} session{}, {} events, {} broken\n", sessions_, sessions_ == 1 ? "" : "s",
                                  events_, broken_);
    }
    return broken_ == 0 ? ExitCode::ok : ExitCode::failed;
  }

 private:
  static std::string detail_of(const store::VerifyReport& report) {
    if (report.ok()) return fmt::format("{} events", report.events);
    const std::uint64_t more = report.findings.size() - 1 + report.more_findings;
    const std::string first = printable(report.findings.front().message);
    return more == 0 ? first : fmt::format("{} (and {} more; --json lists them)", first, more);
  }

  void tell_json(const store::VerifyReport& report) {
    JsonArray findings;
    for (const store::Finding& finding : report.findings) findings.emplace_back(finding_json(finding));
    console_.out << (sessions_ == 0 ? start : ",")
                 << to_text(JsonObject{{"id", to_valid_utf8(report.session_id)},
                                       {"ok", report.ok()},
                                       {"events", report.events},
                                       {"findings", std::move(findings)},
                                       {"more_findings", report.more_findings}});
  }

  static constexpr std::string_view start = "{\"sessions\":[";

  Console& console_;
  std::uint64_t sessions_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t broken_ = 0;
};

Async<void> verify_all(store::Store& store, Teller& teller) {
  std::string cursor;
  do {
    const store::SessionPage page = co_await store.list({}, cursor, sessions_at_once);
    std::vector<std::string> ids;
    for (const store::SessionRecord& session : page.sessions) ids.push_back(session.id);
    for (const store::VerifyReport& report : co_await store::verify(store, std::move(ids))) teller.tell(report);
    cursor = page.next_cursor;
  } while (!cursor.empty());
}

Async<void> verify_chosen(store::Store& store, const std::string& id, Teller& teller) {
  std::exception_ptr failure;
  try {
    if (id.empty()) {
      co_await verify_all(store, teller);
    } else {
      teller.tell(co_await store::verify(store, id));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  co_await store.close();
  if (failure) std::rethrow_exception(failure);
}

std::unique_ptr<store::SqliteStore> open_store(const Settings& settings) {
  try {
    return store::SqliteStore::open({.folder = settings.data, .mode = store::OpenMode::read_only});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::config_invalid,
                fmt::format("there is no store in {} (data: {}): {}", settings.data.string(),
                            settings.value("data").source, error.message()));
  }
}

}  // namespace

ExitCode verify_journals(const VerifyOptions& options, const Settings& settings, Console& console) {
  Loop loop;  // outlives the store, whose calls resume on it
  const std::unique_ptr<store::SqliteStore> store = open_store(settings);
  Teller teller(console);
  loop.run(verify_chosen(*store, options.session, teller));
  return teller.end();
}

}  // namespace sojourn::cli
