#include "sojourn/flow/job.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/loop.hpp"

namespace sojourn::flow {
namespace {

Async<void> nothing() {
  co_return;
}

// Whoever keeps the child may be a thread that is none of the parent's strategy, and outlives that.
TEST(FlowJob, KeepsNothingOfItsParentOnceItIsOver) {
  Loop elsewhere;
  std::weak_ptr<Job> parent;
  std::shared_ptr<Job> child;
  {
    Loop here;
    const auto above = Job::create(here.executor(), nullptr);
    parent = above;
    child = Job::create(elsewhere.executor(), above);
    bool is_kept = false;
    child->start(nothing(), [&](const std::exception_ptr&) { is_kept = above.use_count() > 1; });
    EXPECT_EQ(above.use_count(), 2);
    elsewhere.run(nothing());
    EXPECT_FALSE(is_kept) << "already when it says that it is over";
  }
  EXPECT_TRUE(parent.expired());
  EXPECT_FALSE(child->is_cancelled());
}

}  // namespace
}  // namespace sojourn::flow
