#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"
#include "sojourn/store/verify.hpp"

// What somebody who can write the whole database, but has no key, cannot hide.
namespace sojourn::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using Kind = Finding::Kind;

const std::string id = "sess_20260115_103045_a1b2c3";

class VerifyEnd : public testing::Test {
 protected:
  VerifyEnd() : folders_(folder_.path()) {
    with_store([this](Store& store) { write_history(store); });
  }

  // Five events: created, three log lines, ended. The end is signed, and the folder knows it.
  void write_history(Store& store) {
    NewSession created = new_session(id);
    SessionRecord& record = created.record;
    record.context = R"({"team":"red"})";
    record.head.chain = {0, chain_start(id)};
    created.events = {link(record.head.chain, "session.created",
                           fmt::format(R"({{"key":"{}","context":"{}","user":"user","app":"counter","version":"1"}})",
                                       key_.public_key().id(), to_hex(sha256(record.context))))};
    hashes_ = {record.head.chain.hash};
    run(store.create(created));
    Commit commit{.session_id = id, .epoch = 1, .version = 1, .head = record.head};
    for (const std::string type : {"log", "log", "log", "session.ended"}) {
      commit.events = {link(commit.head.chain, type)};
      if (type == "session.ended") {
        commit.head.status = SessionStatus::ended;
        commit.head.ended_at = start_time;
        commit.head.signature = sign_head(key_, id, commit.head.chain);
      }
      commit.version = run(store.commit(commit));
      hashes_.push_back(commit.head.chain.hash);
    }
    record.head = commit.head;
    record_ = record;
  }

  void alter(const std::string& sql) { Connection(folder_.path() / "sojourn.db", OpenMode::read_write).run(sql); }

  // Cuts off the newest events, and makes the session's row fit.
  void cut_off_after(std::uint64_t seq) {
    alter(fmt::format("DELETE FROM events WHERE seq > {0}; UPDATE sessions SET chain_seq = {0}, chain_hash = x'{1}'",
                      seq, to_hex(hashes_.at(seq - 1))));
  }

  VerifyReport verified(const PublicKeys& keys) {
    VerifyReport report;
    with_store([&](Store& store) { report = run(verify(store, id, {.keys = &keys, .folders = &folders_})); });
    return report;
  }
  VerifyReport verified() { return verified(PublicKeys{{key_.public_key().id(), key_.public_key()}}); }

  std::vector<Kind> kinds() {
    std::vector<Kind> kinds;
    for (const Finding& finding : verified().findings) kinds.push_back(finding.kind);
    return kinds;
  }

  template <class F>
  void with_store(F use) {
    const auto store = SqliteStore::open({.folder = folder_.path()});
    use(*store);
    run(store->close());
  }

  const SigningKey key_ = SigningKey::generate();
  const TemporaryFolder folder_;
  const SessionFolders folders_;
  SessionRecord record_;
  std::vector<Hash> hashes_;  // of the events, in order
};

TEST_F(VerifyEnd, HoldsWithTheKeyThatSignedIt) {
  const VerifyReport report = verified();
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.signature, VerifyReport::Signature::valid);
}

TEST_F(VerifyEnd, SaysWhereNobodyGaveTheKey) {
  const VerifyReport report = verified(PublicKeys());
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.signature, VerifyReport::Signature::unchecked);
}

TEST_F(VerifyEnd, DoesNotTakeAnothersSignature) {
  const PublicKey other = SigningKey::generate().public_key();
  const VerifyReport report = verified(PublicKeys{{other.id(), other}});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.findings.front().kind, Kind::signature);
  EXPECT_EQ(report.signature, VerifyReport::Signature::broken);
}

TEST_F(VerifyEnd, TakesTheSignatureOfAnyKnownKeyButUnderItsOwnNameOnly) {
  const PublicKey own = key_.public_key();
  const PublicKey other = SigningKey::generate().public_key();
  EXPECT_TRUE(verified(PublicKeys{{own.id(), own}, {other.id(), other}}).ok());
  EXPECT_FALSE(verified(PublicKeys{{own.id(), other}}).ok());
}

TEST_F(VerifyEnd, ShowsThatTheNewestEventsAreGoneWithWhatTheRowKnowsOfThem) {
  cut_off_after(4);
  EXPECT_THAT(kinds(), ElementsAre(Kind::ending, Kind::signature));
}

TEST_F(VerifyEnd, ShowsThatASignatureIsGone) {
  alter("UPDATE sessions SET signature = ''");
  EXPECT_THAT(kinds(), ElementsAre(Kind::signature));
}

TEST_F(VerifyEnd, ShowsASignatureOfAnotherHead) {
  alter(fmt::format("UPDATE sessions SET signature = '{}'", sign_head(key_, "sess_1", record_.head.chain)));
  EXPECT_THAT(kinds(), ElementsAre(Kind::signature));
  alter("UPDATE sessions SET signature = 'nonsense'");
  EXPECT_THAT(kinds(), ElementsAre(Kind::signature));
}

TEST_F(VerifyEnd, ShowsAnEndThatTheRowDoesNotKnow) {
  alter("UPDATE sessions SET status = 0");
  EXPECT_THAT(kinds(), ElementsAre(Kind::ending));
}

TEST_F(VerifyEnd, ShowsInTheFolderThatASessionWasMadeToGoOn) {
  folders_.write_metadata(record_);
  EXPECT_TRUE(verified().ok());
  cut_off_after(4);
  alter("UPDATE sessions SET status = 0, ended_at = NULL, signature = ''");
  EXPECT_THAT(kinds(), ElementsAre(Kind::folder));
}

TEST_F(VerifyEnd, ShowsAWholeNewChainByTheFolder) {
  folders_.write_metadata(record_);
  Hash hash = chain_start(id);
  for (std::uint64_t seq = 1; seq <= 5; ++seq) {
    const std::string type = seq == 1 ? "session.created" : seq == 5 ? "session.ended" : "log";
    const std::string body = fmt::format(R"({{"seq":{},"type":"{}","data":{{"new":1}}}})", seq, type);
    hash = chain_hash(hash, body);
    alter(fmt::format("UPDATE events SET body = '{}', hash = x'{}' WHERE seq = {}", body, to_hex(hash), seq));
  }
  alter(fmt::format("UPDATE sessions SET chain_hash = x'{}'", to_hex(hash)));
  EXPECT_THAT(kinds(), UnorderedElementsAre(Kind::folder, Kind::signature));
}

TEST_F(VerifyEnd, ShowsAWholeNewChainThatNamesNoKey) {
  for (const bool over : {true, false}) {
    ChainHead head{0, chain_start(id)};
    alter("DELETE FROM events");
    for (const std::string type : {"session.created", "session.ended"}) {
      if (!over && head.seq == 1) break;
      const Event event = link(head, type);
      alter(fmt::format("INSERT INTO events (session, seq, body, hash) SELECT row, {}, '{}', x'{}' FROM sessions",
                        event.seq, event.body, to_hex(event.hash)));
    }
    alter(fmt::format("UPDATE sessions SET chain_seq = {}, chain_hash = x'{}', signature = '', status = {}", head.seq,
                      to_hex(head.hash), over ? 1 : 0));
    EXPECT_THAT(kinds(), ElementsAre(Kind::signature)) << over;
    EXPECT_TRUE(verified(PublicKeys()).ok());  // a program's own sessions are not signed
  }
}

TEST_F(VerifyEnd, ShowsAContextThatChanged) {
  alter(R"(UPDATE givens SET context = '{"team":"blue"}')");
  EXPECT_THAT(kinds(), ElementsAre(Kind::context));
}

TEST_F(VerifyEnd, TakesMetadataThatIsOnlyOlder) {
  SessionRecord older = record_;
  older.head.chain = {2, hashes_[1]};
  folders_.write_metadata(older);
  EXPECT_TRUE(verified().ok());
}

TEST_F(VerifyEnd, ReportsMetadataThatIsMissingOrDamagedOrALink) {
  const std::filesystem::path folder = folders_.create(id);
  EXPECT_TRUE(verified().ok());  // nothing was in it yet
  std::ofstream(folder / "left.txt") << "something";
  EXPECT_THAT(kinds(), ElementsAre(Kind::folder));
  for (const std::string content : {"", "{", "[]", R"({"sojourn":{"events":-1,"last_hash":"x"}})"}) {
    std::ofstream(folder / "session_metadata.json", std::ios::trunc) << content;
    EXPECT_THAT(kinds(), ElementsAre(Kind::folder)) << content;
  }
  std::filesystem::remove(folder / "session_metadata.json");
  std::filesystem::create_symlink("/etc/passwd", folder / "session_metadata.json");
  const VerifyReport report = verified();
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.findings.front().message, HasSubstr("is a link"));
  folders_.write_metadata(record_);
  EXPECT_TRUE(verified().ok());
}

}  // namespace
}  // namespace sojourn::store
