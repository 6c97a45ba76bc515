#include "sojourn/server/journal_followers.hpp"

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::server {

JournalFollowers::Follower::Follower(JournalFollowers& all, std::string session_id)
    : all_(all), session_id_(std::move(session_id)) {
  all_.followers_.emplace(session_id_, this);
}

JournalFollowers::Follower::~Follower() {
  const auto [first, last] = all_.followers_.equal_range(session_id_);
  all_.followers_.erase(std::find_if(first, last, [this](const auto& entry) { return entry.second == this; }));
}

Async<bool> JournalFollowers::Follower::wait(Clock& clock, Instant deadline) {
  if (!woken_ && !all_.closed_) co_await event_.wait_until(clock, deadline);
  if (all_.closed_) throw Error(ErrorCode::unavailable, "the server is stopping");
  co_return std::exchange(woken_, false);
}

void JournalFollowers::wake(const std::string& session_id) {
  const auto [first, last] = followers_.equal_range(session_id);
  for (auto place = first; place != last; ++place) {
    place->second->woken_ = true;
    place->second->event_.notify_all();
  }
}

void JournalFollowers::close() {
  closed_ = true;
  for (const auto& [session, follower] : followers_) follower->event_.notify_all();
}

}  // namespace sojourn::server
