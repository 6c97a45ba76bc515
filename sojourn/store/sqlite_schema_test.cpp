#include "sojourn/store/sqlite_schema.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::store {
namespace {

class MigrationTest : public testing::Test {
 protected:
  int version() { return connection_.query("PRAGMA user_version").one<int>(); }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "sojourn.db";
  Connection connection_{file_, OpenMode::read_write};
};

constexpr Migration made_by_hand[] = {
    {1, "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('first')"},
    {2, "ALTER TABLE notes ADD COLUMN length INTEGER; UPDATE notes SET length = length(text)"},
    {3, "INSERT INTO nowhere VALUES (1)"},
};

TEST_F(MigrationTest, TakesAnOlderSchemaThroughEachStep) {
  migrate(connection_, std::span(made_by_hand, 1), file_);
  EXPECT_EQ(version(), 1);
  migrate(connection_, std::span(made_by_hand, 2), file_);
  EXPECT_EQ(version(), 2);
  EXPECT_EQ(connection_.query("SELECT length FROM notes").one<int>(), 5);
  migrate(connection_, std::span(made_by_hand, 2), file_);
  EXPECT_EQ(connection_.query("SELECT count(*) FROM notes").one<int>(), 1) << "no step runs twice";
}

TEST_F(MigrationTest, MakesTheNewestSchemaFromNothing) {
  migrate(connection_, std::span(made_by_hand, 2), file_);
  EXPECT_EQ(version(), 2);
}

TEST_F(MigrationTest, KeepsTheOlderSchemaWhenAStepFails) {
  EXPECT_THROW(migrate(connection_, made_by_hand, file_), Error);
  EXPECT_EQ(version(), 2);
  EXPECT_FALSE(connection_.in_transaction());
  EXPECT_EQ(connection_.query("SELECT length FROM notes").one<int>(), 5);
}

TEST_F(MigrationTest, RefusesASchemaPastTheLastStep) {
  migrate(connection_, std::span(made_by_hand, 2), file_);
  try {
    migrate(connection_, std::span(made_by_hand, 1), file_);
    FAIL() << "the newer schema was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::store_newer);
  }
}

}  // namespace
}  // namespace sojourn::store
