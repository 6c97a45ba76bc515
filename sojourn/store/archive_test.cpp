#include "sojourn/store/archive.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {
namespace {

using testing::HasSubstr;

const std::string id = "sess_20260115_103045_a1b2c3";

Async<void> append(std::string& archive, std::string piece) {
  archive += piece;
  co_return;
}

Async<void> keep(Store& store, const SigningKey& key, PublicKeys keys, std::string& archive, VerifyReport& report) {
  report = co_await write_archive(store, id, {.key = key, .keys = std::move(keys)}, start_time,
                                  [&archive](std::string piece) { return append(archive, std::move(piece)); });
}

class Archive : public testing::Test {
 protected:
  // A session with state, a call and `more` log lines, that is over and signed.
  explicit Archive(std::size_t more = 3) {
    Writing session = write_new(store_, id);
    const auto write = [&](Commit commit, std::string_view type, const std::string& data) {
      commit.events = {link(commit.head.chain, type, data)};
      session.write(store_, commit);
    };
    Commit set = session.next({});
    set.state = {{"key \"of\" state", "{\"a\":[1,2.50]}"}};
    write(set, "state.changed",
          fmt::format(R"({{"state":{{"key \"of\" state":"{}"}}}})", to_hex(sha256(*set.state[0].value))));
    Commit call = session.next({});
    call.tasks = {new_task("task_1", id, 1, "")};
    call.tasks[0].status = TaskStatus::completed;
    call.tasks[0].output = R"("hello")";
    write(call, "call.completed",
          fmt::format(R"({{"task":"task_1","output":"{}"}})", to_hex(sha256(call.tasks[0].output))));
    session.write(store_, session.next(std::vector<std::string>(more, "log")));
    Commit last = session.next({"session.ended"});
    last.head.status = SessionStatus::ended;
    last.head.signature = sign_head(key_, id, last.head.chain);
    session.write(store_, last);
  }

  std::string written() { return written(key_, {}); }

  std::string written(const SigningKey& key, PublicKeys keys) {
    std::string archive;
    VerifyReport report;
    run(keep(store_, key, std::move(keys), archive, report));
    EXPECT_TRUE(report.ok()) << report.findings.front().message;
    return archive;
  }

  VerifyReport verified(const std::string& archive) { return verified(archive, key_.public_key()); }

  static VerifyReport verified(const std::string& archive, const PublicKey& key) {
    return verify_archive(
        [&archive, place = std::size_t{0}](char* buffer, std::size_t size) mutable {
          const std::size_t count = archive.copy(buffer, size, std::min(place, archive.size()));
          place += count;
          return count;
        },
        PublicKeys{{key.id(), key}});
  }

  MemoryStore store_;
  const SigningKey key_ = SigningKey::generate();
};

class LongArchive : public Archive {
 protected:
  LongArchive() : Archive(20'000) {}
};

TEST_F(Archive, HoldsWithNothingButThePublicKey) {
  const VerifyReport report = verified(written());
  EXPECT_TRUE(report.ok()) << report.findings.front().message;
  EXPECT_EQ(report.session_id, id);
  EXPECT_EQ(report.events, 7u);
  EXPECT_EQ(report.signature, VerifyReport::Signature::valid);
}

TEST_F(LongArchive, SpreadsAJournalOverSeveralFiles) {
  const std::string archive = written();
  EXPECT_THAT(archive, HasSubstr("events/000003.ndjson"));
  const VerifyReport report = verified(archive);
  EXPECT_TRUE(report.ok()) << report.findings.front().message;
  EXPECT_EQ(report.events, 20'004u);
}

TEST_F(Archive, ShowsEachChangedByte) {
  const std::string archive = written();
  for (std::size_t place = 0; place < archive.size(); ++place) {
    std::string changed = archive;
    changed[place] = static_cast<char>(changed[place] ^ (1 << (place % 8)));
    EXPECT_FALSE(verified(changed).ok()) << place;
  }
}

TEST_F(Archive, ShowsThatItIsCutOffOrGoesOn) {
  const std::string archive = written();
  for (std::size_t size = 0; size < archive.size(); size += 100) {
    EXPECT_FALSE(verified(archive.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(verified(archive + '\n').ok());
}

TEST_F(Archive, BringsAlongTheEarlierKeyThatSignedTheEnd) {
  const SigningKey next = SigningKey::generate();
  const std::string archive = written(next, {{key_.public_key().id(), key_.public_key()}});
  EXPECT_THAT(archive, HasSubstr("keys/" + key_.public_key().id() + ".pem"));
  const VerifyReport report = verified(archive, next.public_key());
  EXPECT_TRUE(report.ok()) << report.findings.front().message;
  EXPECT_EQ(report.signature, VerifyReport::Signature::valid);
  // Who knows the earlier key alone has nobody to vouch for the rest.
  EXPECT_FALSE(verified(archive).ok());
}

TEST_F(Archive, BelievesNoKeyInAnArchiveThatNoKnownKeySigned) {
  const SigningKey forger = SigningKey::generate();
  const std::string archive = written(forger, {{key_.public_key().id(), key_.public_key()}});
  const VerifyReport report = verified(archive, SigningKey::generate().public_key());
  EXPECT_EQ(report.signature, VerifyReport::Signature::broken);
}

TEST_F(Archive, IsNotTakenForAnothersWork) {
  const VerifyReport report = verified(written(), SigningKey::generate().public_key());
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.findings.front().message, HasSubstr("which is not known"));
}

TEST_F(Archive, HoldsWhatIsBrokenAsItIs) {
  Snapshot snapshot = *run(store_.load(id));
  Commit altered{.session_id = id, .epoch = 1, .version = snapshot.record.version, .head = snapshot.record.head};
  altered.state = {{"smuggled", "1"}};
  run(store_.commit(altered));
  std::string archive;
  VerifyReport report;
  run(keep(store_, key_, {}, archive, report));
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.findings.front().kind, Finding::Kind::state);
  const VerifyReport elsewhere = verified(archive);
  ASSERT_FALSE(elsewhere.ok());
  EXPECT_EQ(elsewhere.findings.front().kind, Finding::Kind::state);
}

TEST_F(Archive, BringsAlongACompletedTaskThatNoEventKnows) {
  Snapshot snapshot = *run(store_.load(id));
  Commit altered{.session_id = id, .epoch = 1, .version = snapshot.record.version, .head = snapshot.record.head};
  altered.tasks = {new_task("task_9", id, 9, "")};
  altered.tasks[0].status = TaskStatus::completed;
  run(store_.commit(altered));
  std::string archive;
  VerifyReport report;
  run(keep(store_, key_, {}, archive, report));
  for (const VerifyReport& each : {report, verified(archive)}) {
    ASSERT_FALSE(each.ok());
    EXPECT_EQ(each.findings.front().task, "task_9");
  }
}

TEST_F(Archive, IsOfASessionThatIsThere) {
  VerifyReport report;
  std::string archive;
  MemoryStore empty;
  EXPECT_EQ(refusal(keep(empty, key_, {}, archive, report)), ErrorCode::session_not_found);
  EXPECT_EQ(archive, "");
}

// Each of an archive's files, with its head and padding.
std::vector<std::string> members_of(const std::string& archive) {
  std::vector<std::string> members;
  tar::Reader reader([&archive, place = std::size_t{0}](char* buffer, std::size_t size) mutable {
    const std::size_t count = archive.copy(buffer, size, place);
    place += count;
    return count;
  });
  while (const auto member = reader.next()) {
    std::string content;
    while (content.size() < member->size) content += reader.read(4096);
    members.push_back(tar::head(member->name, member->size) + content + tar::padding(member->size));
  }
  return members;
}

// Whatever is put together of its parts by who has no key.
TEST_F(Archive, DoesNotHoldWithItsPartsInAnotherOrder) {
  const std::vector<std::string> members = members_of(written());
  for (std::size_t gone = 0; gone < members.size(); ++gone) {
    std::string less, swapped;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i != gone) less += members[i];
      const std::size_t other = i == gone ? (i + 1) % members.size() : i == (gone + 1) % members.size() ? gone : i;
      swapped += members[other];
    }
    EXPECT_FALSE(verified(less + tar::end()).ok()) << gone;
    EXPECT_FALSE(verified(swapped + tar::end()).ok()) << gone;
  }
}

// Also beside the manifest, where none of its hashes covers it.
TEST_F(Archive, DoesNotHoldWithAFileTooMany) {
  const std::vector<std::string> members = members_of(written());
  const std::string failed =
      R"({"task":"task_9","seq":9,"function":"f","status":"failed","input":1,"error":null,"bytes":4,"output":null})";
  const std::pair<std::string, std::string> files[] = {{"tasks/000002.ndjson", failed + "\n"},
                                                       {"state/000002.ndjson", ""},
                                                       {"events/000002.ndjson", ""},
                                                       {"more", ""}};
  for (const auto& [name, content] : files) {
    const std::string added = tar::head(id + "/" + name, content.size()) + content + tar::padding(content.size());
    for (std::size_t place = 0; place <= members.size(); ++place) {
      std::string archive;
      for (std::size_t i = 0; i < members.size(); ++i) archive += (i == place ? added : "") + members[i];
      EXPECT_FALSE(verified(archive + (place == members.size() ? added : "") + tar::end()).ok()) << name << place;
    }
  }
}

}  // namespace
}  // namespace sojourn::store
