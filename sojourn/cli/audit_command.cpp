#include <fmt/format.h>

#include <fstream>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/stored.hpp"
#include "sojourn/store/archive.hpp"
#include "sojourn/store/journal_key.hpp"
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
    if (report.ok()) {
      using Signature = store::VerifyReport::Signature;
      std::string detail = fmt::format("{} events", report.events);
      if (report.signature == Signature::valid) detail += ", signed";
      if (report.signature == Signature::unchecked) detail += ", signed by a key that is not here";
      return detail + (report.purged ? ", purged" : "");
    }
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
                                       {"purged", report.purged},
                                       {"signature", store::to_string(report.signature)},
                                       {"findings", std::move(findings)},
                                       {"more_findings", report.more_findings}});
  }

  static constexpr std::string_view start = "{\"sessions\":[";

  Console& console_;
  std::uint64_t sessions_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t broken_ = 0;
};

store::VerifyReport broken(std::string session, store::Finding::Kind kind, std::string why) {
  store::VerifyReport report{.session_id = std::move(session)};
  report.findings.push_back({.kind = kind, .message = std::move(why)});
  return report;
}

// One that lists pass over, as a row of it cannot be read.
Async<store::VerifyReport> verify_broken(store::Store& store, std::string session, store::VerifyAgainst against) {
  std::string why = "a row of the session holds what none can hold";
  try {
    store::VerifyReport report = co_await store::verify(store, session, against);
    if (!report.ok()) co_return report;
  } catch (const Error& error) {
    why = error.message();
  }
  co_return broken(std::move(session), store::Finding::Kind::session, why);
}

Async<bool> was_there(store::Store& store, std::string session) {
  const std::vector<store::Event> first = co_await store.events(session, 1, 1);
  if (!first.empty()) co_return true;
  const std::optional<store::Tombstone> tombstone = co_await store.tombstone(session);
  if (tombstone) co_return true;
  const std::optional<store::Snapshot> stored = co_await store.load(session);
  co_return stored.has_value();
}

// Sessions that were removed whole, so that nothing is left but their folders.
Async<void> look_for_lost(store::Store& store, const store::SessionFolders& folders, Teller& teller) {
  for (const std::string& day : folders.days()) {
    for (const std::string& id : folders.ids_of(day)) {
      if (co_await was_there(store, id)) continue;
      teller.tell(
          broken(id, store::Finding::Kind::folder,
                 "there is a folder of this session, but the store has neither the session nor its tombstone"));
    }
  }
}

Async<void> verify_all(store::Store& store, store::VerifyAgainst against, Teller& teller) {
  std::string cursor;
  do {
    const store::SessionPage page = co_await store.list({}, cursor, sessions_at_once);
    std::vector<std::string> ids;
    for (const store::SessionRecord& session : page.sessions) ids.push_back(session.id);
    for (const store::VerifyReport& report : co_await store::verify(store, std::move(ids), against)) {
      teller.tell(report);
    }
    for (const std::string& id : page.broken) teller.tell(co_await verify_broken(store, id, against));
    cursor = page.next_cursor;
  } while (!cursor.empty());
  co_await look_for_lost(store, *against.folders, teller);
}

Async<void> verify_chosen(store::Store& store, const std::string& id, store::VerifyAgainst against, Teller& teller) {
  if (id.empty()) {
    co_await verify_all(store, against, teller);
  } else {
    teller.tell(co_await store::verify(store, id, against));
  }
}

store::PublicKeys keys_of(const VerifyOptions& options, const Settings& settings) {
  try {
    if (options.keys.empty()) return store::find_public_keys(settings.data);
    store::PublicKeys keys;
    for (const std::string& file : options.keys) {
      const PublicKey key = store::read_public_key(file);
      keys.emplace(key.id(), key);
    }
    return keys;
  } catch (const Error& error) {
    const char* const which =
        options.keys.empty() ? "a public key of the data folder: " : "--key takes a file with a public key: ";
    throw Error(ErrorCode::config_invalid, which + error.message());
  }
}

ExitCode verify_file(const VerifyOptions& options, const store::PublicKeys& keys, Console& console) {
  std::ifstream file(options.archive, std::ios::binary);
  if (!file)
    throw Error(ErrorCode::config_invalid, fmt::format("the archive '{}' cannot be opened", options.archive));
  Teller teller(console);
  teller.tell(store::verify_archive(
      [&file](char* buffer, std::size_t size) {
        file.read(buffer, static_cast<std::streamsize>(size));
        return static_cast<std::size_t>(file.gcount());
      },
      keys));
  return teller.end();
}

}  // namespace

ExitCode verify_journals(const VerifyOptions& options, const Settings& settings, Console& console) {
  const store::PublicKeys keys = keys_of(options, settings);
  if (!options.archive.empty()) return verify_file(options, keys, console);
  const store::SessionFolders folders(settings.data, settings.data_sessions_path);
  const store::ArtifactStore artifacts(settings.data);
  const store::VerifyAgainst against{.keys = &keys, .folders = &folders, .artifacts = &artifacts};
  Teller teller(console);
  read_store(settings, [&](store::Store& store) { return verify_chosen(store, options.session, against, teller); });
  return teller.end();
}

}  // namespace sojourn::cli
