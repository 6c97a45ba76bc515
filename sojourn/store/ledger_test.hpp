#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "sojourn/store/store_fixture_test.hpp"

// What a test keeps outside of a store: what it asked to be stored, and what of it was acknowledged.
//
// It writes several sessions at once, whose commits change something of every kind, and knows what each session must
// hold at each version.
namespace sojourn::store {

class Ledger {
 public:
  explicit Ledger(int sessions);

  // Lets each session take `steps` steps, of which the first ever is its creation. A session whose step fails tries
  // it again, `tries` times in all, and then goes no further. Returns whether all steps were taken.
  bool write(Store& store, int steps, int tries = 1);

  // The codes that steps failed with.
  const std::set<ErrorCode>& refusals() const { return refusals_; }

  // Expects that the store holds each session whole, at a version that was asked for and is not before what was
  // acknowledged; with `exactly`, that it holds nothing else. Its journals verify.
  void check(Store& store, bool exactly) const;

 private:
  struct Entry {
    explicit Entry(std::string id) : writing(std::move(id)) {}

    Writing writing;              // as acknowledged
    bool created = false;         // acknowledged
    bool creating = false;        // asked for
    std::vector<Commit> commits;  // asked for, of which the last may be unanswered
  };

  Async<void> write_all(Store& store, int steps, int tries);
  static Async<void> write_some(Ledger& ledger, Store& store, Entry& entry, int steps, int tries);
  Async<bool> step(Store& store, Entry& entry);
  static void check(Store& store, const Entry& entry, bool exactly);

  std::vector<Entry> entries_;
  std::set<ErrorCode> refusals_;
  bool all_taken_ = true;
};

}  // namespace sojourn::store
