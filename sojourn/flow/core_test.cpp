#include "sojourn/flow/core.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"

namespace sojourn::flow {
namespace {

namespace fs = std::filesystem;

using FlowCore = FlowTest;

TEST_F(FlowCore, WorksWithoutAPlaceToBeSavedIn) {
  ::unsetenv("RAILTRACKS_HOME");
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  fs::remove(folder.path());
  testing::internal::CaptureStderr();
  const auto twice = node("twice", [](int n) { return 2 * n; });
  {
    Session session(one_thread,
                    {.logging_setting = LoggingSetting::quiet, .run_identifier = "s-1", .save_state = true});
    EXPECT_EQ(session.call_sync(twice, 1), 2);
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("flow session s-1: there is no place to save it in: "));
  fs::current_path(before);
}

}  // namespace
}  // namespace sojourn::flow
