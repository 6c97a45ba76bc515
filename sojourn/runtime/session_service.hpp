#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/manifest.hpp"

// Sessions as seed 001 knows them: created for a user, moved from status to status, and audited as a whole.
//
// What the seed calls a status is the session's stage; its moves are those of the lifecycle "impact-assessment".
// Source: seed 001, SessionService.
namespace sojourn::runtime {

struct AssessmentSession {
  std::string session_id;
  Time created_at{};
  std::string status;
  std::string audit_path;
  std::string user_id;  // "" for none
};

// A row of the list: what its session's state, or else its metadata, holds under these names; null where neither
// does.
struct AssessmentSummary {
  std::string session_id;
  Time created_at{};
  std::string status;
  Json requirement_text;  // at most the first 200 characters of a text
  Json jira_epic_id;
  Json total_story_points;
  Json total_hours;
};

struct AssessmentList {
  std::vector<AssessmentSummary> sessions;  // newest first
  std::uint64_t total = 0;
};

struct AssessmentAudit {
  store::SessionRecord record;
  store::StepSummary steps;
  std::vector<store::StepRecord> attempts;  // at most `limit` of get_audit(), from the first on
  store::Manifest artifacts;
  std::vector<store::Event> events;  // likewise, from the one that was asked for on
};

// Threads: everything on the runtime's executor.
class SessionService {
 public:
  // `audit_path` says where a session's folder is or will be.
  SessionService(Runtime& runtime, store::Store& store, std::function<std::string(const std::string& id)> audit_path)
      : runtime_(runtime), store_(store), audit_path_(std::move(audit_path)) {}

  // Durable: when it returns. Errors: those of Runtime::create_session.
  Async<AssessmentSession> create(std::string user_id, std::string actor = "local", std::string idempotency_key = "");

  Async<AssessmentSession> get(std::string session_id);  // Errors: session_not_found

  // Errors: session_not_found.
  Async<AssessmentAudit> get_audit(std::string session_id, std::uint64_t from_event = 1, std::size_t limit = 1'000);

  // Moves the session to the stage of that name. Durable: when it returns. Errors: those of Runtime::move_stage.
  Async<AssessmentSession> update_status(std::string session_id, std::string status, std::string reason = "",
                                         std::string actor = "local");

  // At most `limit` sessions after the newest `offset` ones. Cost: grows with `offset`, and a little with all there
  // are.
  Async<AssessmentList> list(std::size_t limit, std::uint64_t offset);

 private:
  AssessmentSession view(const store::SessionRecord& record) const;
  Async<AssessmentSummary> summary(store::SessionRecord record);

  Runtime& runtime_;
  store::Store& store_;
  std::function<std::string(const std::string& id)> audit_path_;
};

}  // namespace sojourn::runtime
