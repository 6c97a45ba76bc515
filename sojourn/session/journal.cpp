#include "sojourn/session/journal.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::session {

namespace {

store::Event link(const store::ChainHead& head, const NewEvent& event) {
  store::Event linked;
  linked.seq = head.seq + 1;
  linked.body.reserve(event.data.size() + event.type.size() + event.actor.size() + 96);
  linked.body += "{\"seq\":";
  linked.body += std::to_string(linked.seq);
  linked.body += ",\"time\":\"";
  linked.body += format_time(event.time);
  linked.body += "\",\"type\":";
  append_json_string(linked.body, event.type);
  linked.body += ",\"actor\":";
  append_json_string(linked.body, event.actor);
  linked.body += ",\"data\":";
  linked.body += event.data;
  linked.body += '}';
  linked.hash = store::chain_hash(head.hash, linked.body);
  return linked;
}

}  // namespace

Journal Journal::of_new_session(std::string_view session_id) {
  return Journal(store::ChainHead{.seq = 0, .hash = store::chain_start(session_id)});
}

void Journal::append(NewEvent event) {
  if (event.data.size() > limits::event_bytes) {
    throw Error(ErrorCode::too_large, fmt::format("an event's data has at most {} bytes, this one has {}",
                                                  limits::event_bytes, event.data.size()));
  }
  waiting_bytes_ += event.data.size();
  waiting_.push_back(std::move(event));
}

void Journal::append_log(NewEvent event) {
  const std::size_t bytes = event.data.size();
  if (waiting_.size() >= limits::events_per_commit || bytes > limits::event_bytes ||
      waiting_bytes_ + bytes > limits::json_bytes) {
    ++lines_cut_;
  } else {
    waiting_bytes_ += bytes;
    waiting_.push_back(std::move(event));
  }
}

Journal::Sealed Journal::seal(const std::vector<NewEvent>& last, Time now) const {
  Sealed sealed{.events = {}, .head = head_, .waiting = waiting_.size(), .lines_cut = lines_cut_};
  sealed.events.reserve(waiting_.size() + last.size() + 1);
  const auto add = [&](const NewEvent& event) {
    sealed.events.push_back(link(sealed.head, event));
    sealed.head = {sealed.events.back().seq, sealed.events.back().hash};
  };
  for (const NewEvent& event : waiting_) add(event);
  if (lines_cut_ > 0) add({"log.cut", "server", fmt::format("{{\"lines\":{}}}", lines_cut_), now});
  for (const NewEvent& event : last) add(event);
  return sealed;
}

void Journal::advance(const Sealed& sealed) {
  head_ = sealed.head;
  for (std::size_t i = 0; i < sealed.waiting; ++i) waiting_bytes_ -= waiting_[i].data.size();
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(sealed.waiting));
  lines_cut_ -= sealed.lines_cut;
}

}  // namespace sojourn::session
