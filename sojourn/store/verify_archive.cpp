#include <fmt/format.h>

#include <exception>
#include <map>
#include <optional>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/archive.hpp"
#include "sojourn/store/archive_format.hpp"
#include "sojourn/store/journal_verifier.hpp"

namespace sojourn::store {

namespace {

// A file of lines has 1 MiB and one line more, which is at most a call's input and output.
constexpr std::size_t most_bytes = 32 * limits::mebibyte;
constexpr std::size_t piece_bytes = limits::mebibyte;

class ArchiveVerifier {
 public:
  ArchiveVerifier(tar::Reader::Source source, const PublicKeys& keys) : reader_(std::move(source)), keys_(keys) {}

  VerifyReport verify() {
    try {
      read_session();
      while (const auto member = reader_.next()) read_member(*member);
      finish();
    } catch (const std::exception& error) {
      add(to_valid_utf8(error.what()));
    }
    if (journal_) return journal_->take();
    return std::move(report_);
  }

 private:
  void add(std::string message) {
    Finding finding{.kind = Finding::Kind::archive, .message = std::move(message)};
    if (journal_) {
      journal_->add(std::move(finding));
    } else {
      report_.findings.push_back(std::move(finding));
    }
  }

  void read_session() {
    const std::optional<tar::Reader::Member> member = reader_.next();
    if (!member || !member->name.ends_with(fmt::format("/{}", archive::session_file))) {
      throw Error(ErrorCode::invalid_request, "this is no archive of a session");
    }
    prefix_ = member->name.substr(0, member->name.size() - std::string_view(archive::session_file).size());
    const std::string text = take(*member, archive::session_file);
    record_ = archive::read_session(text);
    if (prefix_ != record_.id + "/")
      throw Error(ErrorCode::invalid_request, "its folder is not named like its session");
    report_.session_id = record_.id;
    journal_.emplace(record_.id);
  }

  void read_member(const tar::Reader::Member& member) {
    const bool is_ours = member.name.starts_with(prefix_);
    const std::string path = is_ours ? member.name.substr(prefix_.size()) : "";
    // No hash covers what stands between the manifest and its signature.
    if (!is_ours || signed_ || (!manifest_.empty() && path != archive::signature_file)) {
      throw Error(ErrorCode::invalid_request, fmt::format("'{}' does not belong there", member.name));
    }
    if (path == archive::signature_file) {
      const std::string signature = take(member, path);
      is_genuine_ = archive::manifest_holds(signature, keys_, manifest_);
      if (!is_genuine_) add(why_not_genuine(signature));
      signed_ = true;
    } else if (path == archive::manifest_file) {
      check_manifest(member);
    } else if (path.starts_with(archive::events_folder)) {
      for_each_line(take(member, path),
                    [this](std::string_view line) { journal_->check_event(archive::read_event(line)); });
    } else if (path.starts_with(archive::state_folder)) {
      for_each_line(take(member, path), [this](std::string_view line) { state_.insert(archive::read_state(line)); });
    } else if (path.starts_with(archive::artifacts_folder)) {
      hash_content(member, path);
    } else if (path.starts_with(archive::keys_folder)) {
      const PublicKey key = PublicKey::from_pem(take(member, path));
      earlier_keys_.emplace(key.id(), key);
    } else if (path.starts_with(archive::tasks_folder)) {
      for_each_line(take(member, path),
                    [this](std::string_view line) { tasks_.emplace_back(archive::read_task(line)); });
    } else {
      throw Error(ErrorCode::invalid_request, fmt::format("'{}' is nothing that an archive holds", path));
    }
  }

  std::string why_not_genuine(std::string_view signature) const {
    const std::string_view key = key_of(signature);
    return keys_.contains(key) ? fmt::format("key {} did not sign this archive", key)
                               : fmt::format("the archive is signed by key '{}', which is not known", key);
  }

  // Without holding it in memory.
  void hash_content(const tar::Reader::Member& member, const std::string& path) {
    Hasher hasher;
    for (std::string piece = reader_.read(piece_bytes); !piece.empty(); piece = reader_.read(piece_bytes)) {
      hasher.add(piece);
    }
    const std::string hash = to_hex(hasher.finish());
    contents_.emplace(path.substr(std::string_view(archive::artifacts_folder).size()), hash);
    files_.push_back({.path = path, .size = member.size, .sha256 = hash});
  }

  void check_manifest(const tar::Reader::Member& member) {
    const std::vector<archive::File> before = files_;
    manifest_ = take(member, archive::manifest_file);
    const JsonObject object = parse_json_object(manifest_, {.bytes = most_bytes});
    const std::string exported_at(object.at("exported_at").as_string());
    if (manifest_ != archive::manifest_text(record_.id, exported_at, before)) {
      add("the archive's files are not those that its manifest names");
    }
  }

  void finish() {
    if (!signed_) throw Error(ErrorCode::invalid_request, "the archive has no signature");
    journal_->check_head(record_.head.chain);
    // What the server's key vouches for is not to be doubted.
    PublicKeys known = keys_;
    if (is_genuine_) known.merge(earlier_keys_);
    journal_->check_record(record_, known);
    journal_->check_state(state_);
    for (const TaskNote& task : tasks_) journal_->check_task(task);
    journal_->add_missing_ended_tasks();
    journal_->check_contents([this](const std::string& hash) {
      const auto place = contents_.find(hash);
      return place == contents_.end() ? std::nullopt : std::optional(place->second);
    });
  }

  template <class Take>
  static void for_each_line(std::string_view lines, Take take) {
    while (!lines.empty()) {
      const std::size_t end = lines.find('\n');
      if (end == std::string_view::npos) throw Error(ErrorCode::invalid_request, "a line of the archive has no end");
      take(lines.substr(0, end));
      lines.remove_prefix(end + 1);
    }
  }

  // The content of a member, for the manifest.
  std::string take(const tar::Reader::Member& member, std::string path) {
    if (member.size > most_bytes) throw Error(ErrorCode::too_large, fmt::format("'{}' is too large", member.name));
    std::string content;
    while (content.size() < member.size) content += reader_.read(piece_bytes);
    files_.push_back({.path = std::move(path), .size = member.size, .sha256 = to_hex(sha256(content))});
    return content;
  }

  tar::Reader reader_;
  const PublicKeys& keys_;
  PublicKeys earlier_keys_;  // that the archive brings along
  VerifyReport report_;      // as long as it is not known of what
  std::optional<JournalVerifier> journal_;
  std::string prefix_;
  SessionRecord record_;
  std::vector<archive::File> files_;
  std::map<std::string, JsonText> state_;
  std::vector<TaskNote> tasks_;
  std::map<std::string, std::string> contents_;  // artefacts, by the hash that names them
  std::string manifest_;
  bool signed_ = false;
  bool is_genuine_ = false;  // by one of keys_
};

}  // namespace

VerifyReport verify_archive(tar::Reader::Source source, const PublicKeys& keys) {
  return ArchiveVerifier(std::move(source), keys).verify();
}

}  // namespace sojourn::store
