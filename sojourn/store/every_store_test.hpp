#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sojourn/store/store_fixture_test.hpp"

// The fixture of the conformance suite, which runs once for each kind of store.
namespace sojourn::store {

struct MadeStore {
  std::unique_ptr<TemporaryFolder> folder;  // null where none is needed
  std::unique_ptr<Store> store;
};

struct Kind {
  std::string name;
  std::function<MadeStore()> make;
};

class EveryStore : public testing::TestWithParam<Kind> {
 protected:
  EveryStore() : made_(GetParam().make()) {}
  ~EveryStore() override { run(store().close()); }

  Store& store() { return *made_.store; }

  // The ids that a walk through all pages of `limit` finds.
  std::vector<std::string> ids(const SessionQuery& query, std::size_t limit = 100) {
    std::vector<std::string> found;
    std::string cursor;
    do {
      const SessionPage page = run(store().list(query, cursor, limit));
      EXPECT_LE(page.sessions.size(), limit);
      for (const SessionRecord& record : page.sessions) found.push_back(record.id);
      cursor = page.next_cursor;
    } while (!cursor.empty());
    return found;
  }

  // That everything of the session reads as `expected`, so that nothing was changed.
  void expect_unchanged(const Snapshot& expected, std::size_t events, std::size_t tasks) {
    const std::string& id = expected.record.id;
    expect_same(run(store().load(id)).value(), expected);
    EXPECT_THAT(run(store().events(id, 1, 1'000)), testing::SizeIs(events));
    EXPECT_THAT(run(store().tasks(id, 0, 1'000)), testing::SizeIs(tasks));
  }

  MadeStore made_;
};

}  // namespace sojourn::store
