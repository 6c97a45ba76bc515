#include "sojourn/base/ids.hpp"

#include <gtest/gtest.h>

namespace sojourn {
namespace {

TEST(SessionId, TellsItsTimeInUtc) {
  SeededRandom random(1);
  const std::string id = new_session_id(parse_time("2026-01-15T10:30:45.999999Z"), random);
  EXPECT_TRUE(id.starts_with("sess_20260115_103045_")) << id;
  EXPECT_TRUE(is_session_id(id)) << id;
}

TEST(SessionId, DiffersWithinOneSecond) {
  SeededRandom random(1);
  const Time now = parse_time("2026-01-15T10:30:45Z");
  EXPECT_NE(new_session_id(now, random), new_session_id(now, random));
}

TEST(SessionId, HasOneShapeOnly) {
  EXPECT_TRUE(is_session_id("sess_20260115_103045_a1b2c3"));
  for (const std::string_view id :
       {"", "sess_", "sess_20260115_103045_a1b2c", "sess_20260115_103045_a1b2c3d", "sess_20260115_103045_A1B2C3",
        "sess_20260115_103045_a1b2cg", "sess_2026011x_103045_a1b2c3", "SESS_20260115_103045_a1b2c3",
        "sess_20260115-103045_a1b2c3", "sess_dddddddd_dddddd_xxxxxx", "../../etc/passwd",
        "sess_../../../../_etc/pass"}) {
    EXPECT_FALSE(is_session_id(id)) << id;
  }
  EXPECT_FALSE(is_session_id(std::string_view("sess_20260115_103045_a1b2c\0", 27)));
}

TEST(TaskId, SortsByTime) {
  SeededRandom random(1);
  const Time now = parse_time("2026-01-15T10:30:45.001Z");
  EXPECT_LT(new_task_id(now, random), new_task_id(now + Milliseconds(1), random));
}

TEST(TaskId, HasOneShapeOnly) {
  SeededRandom random(1);
  const std::string id = new_task_id(parse_time("2026-01-15T10:30:45Z"), random);
  EXPECT_TRUE(is_task_id(id)) << id;
  EXPECT_FALSE(is_task_id(id + "0"));
  EXPECT_FALSE(is_task_id(id.substr(0, id.size() - 1)));
  EXPECT_FALSE(is_task_id("task_" + std::string(26, 'G')));
  EXPECT_FALSE(is_task_id("sess_" + std::string(26, '0')));
}

}  // namespace
}  // namespace sojourn
