#include "sojourn/worker/process_app.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <string>

#include "sojourn/worker/process_test_bench.hpp"

namespace sojourn::worker {

namespace {

using Bench = ProcessTestBench;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ProcessAppTest : public Bench {};

TEST_F(ProcessAppTest, OpensCallsAndClosesAProcess) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    EXPECT_EQ(co_await bench.call(*worker, "echo", {{"a", 1}}), Json({{"a", 1}}));
    EXPECT_EQ(co_await bench.call(*worker, "echo", "again"), Json("again"));
    co_await bench.close(*worker);
    EXPECT_NE(bench.events.find("closing: ended"), nullptr);
    EXPECT_THAT(bench.events.losses, IsEmpty());
  });
}

}  // namespace

}  // namespace sojourn::worker
