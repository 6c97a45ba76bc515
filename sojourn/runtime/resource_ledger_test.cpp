#include "sojourn/runtime/resource_ledger.hpp"

#include <gmock/gmock.h>

namespace sojourn::runtime {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

store::ResourceRecord resource(std::string id, std::string kind = "thing") {
  return {.session_id = "s", .id = std::move(id), .kind = std::move(kind)};
}

std::vector<std::string> ids(const std::vector<store::ResourceRecord>& resources) {
  std::vector<std::string> ids;
  for (const store::ResourceRecord& each : resources) ids.push_back(each.id);
  return ids;
}

session::Step taken(ResourceLedger& ledger) {
  session::Step step;
  ledger.move_into(step);
  return step;
}

TEST(ResourceLedger, AResourceAcquiredAgainUnderItsIdStaysOpenInTheStore) {
  ResourceLedger ledger;
  ledger.add(resource("a"));
  taken(ledger);
  ledger.release("a");
  ledger.add(resource("a", "other"));
  const session::Step step = taken(ledger);
  EXPECT_THAT(ids(step.resources_added), ElementsAre("a"));
  EXPECT_THAT(step.resources_released, IsEmpty()) << "a commit releases after it adds";
}

TEST(ResourceLedger, WhatAFailedCommitTookAlongGoesWithTheNext) {
  ResourceLedger ledger;
  ledger.add(resource("stored"));
  taken(ledger);
  ledger.add(resource("a"));
  ledger.release("stored");
  const session::Step failed = taken(ledger);
  ledger.add(resource("b"));
  ledger.take_back(failed.resources_added, failed.resources_released);
  const session::Step step = taken(ledger);
  EXPECT_THAT(ids(step.resources_added), ElementsAre("a", "b"));
  EXPECT_THAT(step.resources_released, ElementsAre("stored"));
}

TEST(ResourceLedger, WhatChangedWhileACommitFailedIsNotUndone) {
  ResourceLedger ledger;
  ledger.add(resource("gone"));
  ledger.add(resource("again", "old"));
  ledger.add(resource("stored"));
  taken(ledger);
  ledger.release("stored");
  ledger.add(resource("gone"));
  ledger.add(resource("again", "old"));
  const session::Step failed = taken(ledger);
  ledger.release("gone");
  ledger.add(resource("again", "new"));
  ledger.add(resource("stored"));
  ledger.take_back(failed.resources_added, failed.resources_released);
  const session::Step step = taken(ledger);
  EXPECT_THAT(ids(step.resources_added), ElementsAre("again", "stored"));
  EXPECT_EQ(step.resources_added.front().kind, "new");
  EXPECT_THAT(step.resources_released, ElementsAre("gone"));
}

}  // namespace

}  // namespace sojourn::runtime
