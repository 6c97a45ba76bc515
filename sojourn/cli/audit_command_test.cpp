#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "sojourn/base/json.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/cli/command_line.hpp"
#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class AuditVerify : public testing::Test {
 protected:
  AuditVerify() {
    store_ = store::SqliteStore::open({.folder = folder_.path()});
    for (const std::string id : {"sess_1", "sess_2"}) {
      store::Writing session = store::write_new(*store_, id);
      session.write(*store_, session.next({"log", "log"}));
    }
  }
  ~AuditVerify() override { stop_server(); }

  void stop_server() {
    if (store_) store::run(store_->close());
    store_.reset();
  }

  void alter(const std::string& sql) {
    store::Connection(folder_.path() / "sojourn.db", store::OpenMode::read_write).run(sql);
  }

  int audit_verify(std::vector<std::string> words) {
    out_.str("");
    err_.str("");
    words.insert(words.begin(), {"audit", "verify", "--data", data_.string()});
    Console console{.in = in_, .out = out_, .err = err_};
    return run_command_line(words, {.folder = "/nowhere"}, console);
  }

  TemporaryFolder folder_;
  std::filesystem::path data_ = folder_.path();
  std::unique_ptr<store::SqliteStore> store_;
  std::istringstream in_;
  std::ostringstream out_, err_;
};

TEST_F(AuditVerify, HoldsBesideARunningServerAndWithoutOne) {
  for (const bool running : {true, false}) {
    if (!running) stop_server();
    EXPECT_EQ(audit_verify({}), 0) << err_.str();
    EXPECT_THAT(out_.str(), AllOf(HasSubstr("sess_1                       ok  3 events\n"),
                                  HasSubstr("\n2 sessions, 6 events, 0 broken\n")));
  }
}

TEST_F(AuditVerify, NamesWhatDoesNotFitAndExitsWith1) {
  stop_server();
  alter("UPDATE events SET body = replace(body, 'log', 'lag') WHERE seq = 2");
  EXPECT_EQ(audit_verify({"--all"}), 1);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("sess_1                       BROKEN  event 2 was altered"),
                                HasSubstr("2 sessions, 6 events, 2 broken")));

  EXPECT_EQ(audit_verify({"--json"}), 1);
  const JsonObject json = parse_json_object(out_.str());
  EXPECT_FALSE(json.at("ok").as_bool());
  EXPECT_EQ(json.at("broken"), 2);
  const JsonObject& session = json.at("sessions").as_array().at(0).as_object();
  EXPECT_EQ(session.at("findings").as_array().at(0).as_object().at("kind"), "altered");
  EXPECT_EQ(session.at("findings").as_array().at(0).as_object().at("seq"), 2);
}

TEST_F(AuditVerify, LooksAtOneSessionWhereOneIsNamed) {
  EXPECT_EQ(audit_verify({"sess_2"}), 0);
  EXPECT_THAT(out_.str(), AllOf(StartsWith("sess_2 "), HasSubstr("1 session, 3 events, 0 broken")));
  EXPECT_EQ(audit_verify({"sess_3", "--json"}), 1);
  EXPECT_EQ(out_.str(), "");
  EXPECT_THAT(err_.str(), HasSubstr("SESSION_NOT_FOUND"));
}

TEST_F(AuditVerify, AnArchiveIsNotVerifiedWithoutAKey) {
  EXPECT_EQ(audit_verify({"--archive", "trail.tar", "--key", ""}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--key"));
  EXPECT_EQ(out_.str(), "");
}

TEST_F(AuditVerify, AStoreWithoutSessionsHolds) {
  stop_server();
  alter("DELETE FROM events");
  alter("DELETE FROM sessions");
  EXPECT_EQ(audit_verify({"--json"}), 0);
  EXPECT_EQ(parse_json(out_.str()), parse_json(R"({"sessions":[],"ok":true,"broken":0,"events":0})"));
}

TEST_F(AuditVerify, AFolderWithoutAStoreIsRefusedAndLeftAsItWas) {
  const TemporaryFolder empty;
  data_ = empty.path() / "data";
  EXPECT_EQ(audit_verify({}), 2);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("there is no store in"), HasSubstr("(data: --data)")));
  EXPECT_TRUE(std::filesystem::is_empty(empty.path()));
}

}  // namespace
}  // namespace sojourn::cli
