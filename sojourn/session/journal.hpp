#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// A session's journal: what happened, in order, and proof that nobody rewrote it.
//
// Each event's hash covers the previous event's hash, so altering or removing one breaks every later link. What the
// chain cannot show by itself is that its newest events were cut off; the session's row keeps the head against that,
// and keeping it elsewhere too guards against who can write both.
namespace sojourn::session {

// Something that happened and has no place in the chain yet.
struct NewEvent {
  std::string type;
  std::string actor;
  store::JsonText data = "{}";  // of a JSON object
  Time time{};
};

// Threads: none; the owner keeps calls apart.
class Journal {
 public:
  // Goes on after `head`. A journal without events starts at chain_start of its session.
  explicit Journal(store::ChainHead head) : head_(head) {}
  static Journal of_new_session(std::string_view session_id);

  // Keeps `event` until the next commit takes it.
  // Errors: too_large for data past limits::event_bytes; the journal is unchanged.
  void append(NewEvent event);

  // Keeps a line that the app said, or counts it where limits::events_per_commit events or limits::json_bytes of them
  // wait already.
  void append_log(NewEvent event);

  // Events that have their place in the chain, and what they were made of.
  struct Sealed {
    std::vector<store::Event> events;
    store::ChainHead head;
    std::size_t waiting = 0;
    std::uint64_t lines_cut = 0;
  };

  // Links the events that wait, and `last` after them, to the head. The journal itself changes only in advance().
  // Order: sequence numbers go on from the head without gaps.
  Sealed seal(const std::vector<NewEvent>& last, Time now) const;

  // `sealed` is durable now. Events may have been appended since it was made, none may have been advanced.
  void advance(const Sealed& sealed);

  const store::ChainHead& head() const { return head_; }
  std::size_t waiting() const { return waiting_.size(); }

  // The number of the first event that seal() puts after those that wait now.
  std::uint64_t next_seq() const { return head_.seq + waiting_.size() + (lines_cut_ > 0 ? 1 : 0) + 1; }

 private:
  store::ChainHead head_;
  std::vector<NewEvent> waiting_;
  std::size_t waiting_bytes_ = 0;  // of their data
  std::uint64_t lines_cut_ = 0;
};

}  // namespace sojourn::session
