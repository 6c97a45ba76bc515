#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"
#include "sojourn/store/verify.hpp"

// What a session's events tell of the session itself, held against its row. Part of JournalVerifier.
//
// A journal of a server names the key that will sign it, and then tells all that check() compares. Any other, such as
// that of a program's own sessions, is held to what it tells.
namespace sojourn::store {

class ToldSession {
 public:
  // The next event, of a type that begins with "session.", and its body's text.
  void take(std::uint64_t seq, std::string_view type, const JsonObject& body, std::string_view text);

  // What is wrong with the row.
  std::vector<Finding> check(const SessionRecord& record) const;

  const std::string& key() const { return key_; }  // that is to sign the end; "" for none

 private:
  void take_beginning(const JsonObject& body);
  void take_end(std::uint64_t seq, std::string_view type, std::string_view text);
  std::string_view differing_given(const SessionRecord& record) const;
  std::string_view differing_end(const SessionRecord& record) const;

  std::string key_;
  // Of the first event.
  std::string context_;
  std::string labels_;
  std::string metadata_;
  std::string setup_;
  std::string app_;
  std::string version_;
  std::string user_;
  std::string lifecycle_;
  std::string created_at_;
  std::optional<Seconds> timeout_;
  std::optional<Seconds> lifetime_;
  std::string stage_ = "created";  // where the last move left it
  // Of the one that tells of the end.
  std::uint64_t ended_ = 0;
  std::string how_;  // "ended", "expired" or "failed"
  std::string ended_at_;
  std::string reason_;
  JsonText error_;  // "" where it tells of none
  JsonText usage_;  // likewise
};

}  // namespace sojourn::store
