#include "sojourn/device/raw_repl.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"
#include "sojourn/device/checked_code.hpp"

namespace sojourn::device {

namespace {

using testing::EndsWith;
using testing::IsEmpty;
using testing::StartsWith;

constexpr std::string_view seek = "\x03\x03\x01";
constexpr std::string_view collect_garbage = "__import__('gc').collect()\x04";
const std::string leave_and_seek = "\x02" + std::string(seek);
constexpr std::string_view ask_paste = "\x05\x41\x01";
constexpr std::string_view banner = "raw REPL; CTRL-B to exit\r\n>";
const std::string done = "OK" + std::string(guard_receipt()) + "\r\n\x04\x04>";  // when the guard arrived whole

// The bytes of one wire, as they were recorded from real boards, and the events that come of them.
class RawReplTest : public testing::Test {
 public:
  void says(std::string_view bytes) {
    repl.receive(bytes, now);
    collect();
  }
  void passes(Milliseconds time) {
    now += time;
    repl.tick(now);
    collect();
  }
  void pass_to_next() {
    ASSERT_TRUE(repl.next_tick());
    now = *repl.next_tick();
    repl.tick(now);
    collect();
  }
  std::string sent() { return repl.take_to_send(); }
  std::string take_seen() { return std::exchange(seen, {}); }

  std::string sent_to_the_end() {
    std::string all = sent();
    for (int i = 0; i < 100 && !all.ends_with('\x04') && repl.next_tick(); ++i) {
      pass_to_next();
      all += sent();
    }
    return all;
  }

  // At the prompt, with the guard.
  void get_ready(bool cooked = true) {
    repl.recover(now, true);
    says(banner);
    sent_to_the_end();
    says(cooked ? done : "OK" + std::string(guard_receipt()) + "\n\x04\x04>");
    ASSERT_EQ(take_seen(), "ready ");
  }

  // A run whose code was sent, whole.
  void start(std::string_view code, bool value = false) {
    const CodeKind kind = value ? CodeKind::expression : CodeKind::statements;
    repl.run(code, kind, now);
    mark = checked_code(code, kind).end_mark;
  }

  void collect() {
    while (auto event = repl.take_event()) {
      if (std::holds_alternative<RawRepl::Ready>(*event)) seen += "ready ";
      if (std::holds_alternative<RawRepl::Undelivered>(*event)) seen += "undelivered ";
      if (std::holds_alternative<RawRepl::Garbled>(*event)) seen += "garbled ";
      if (std::holds_alternative<RawRepl::Rebooted>(*event)) seen += "rebooted ";
      if (auto* output = std::get_if<RawRepl::Output>(&*event)) seen += fmt::format("[{}] ", output->text);
      if (auto* finished = std::get_if<RawRepl::Finished>(&*event)) {
        seen += fmt::format("finished({}|{}) ", finished->value, finished->error);
        if (!finished->begun) seen += "not begun ";
      }
    }
  }

  Instant now{Seconds(1000)};
  RawRepl repl{{.burst = 1024}};
  const std::string guard = std::string(guard_script()) + "\x04";
  std::string seen;
  std::string mark;  // after the run
};

TEST_F(RawReplTest, SeesARestartThoughThereAreThreads) {
  get_ready();
  start("raise SystemExit");
  sent_to_the_end();
  says("OK\6" + mark + "\6\r\n\x04\x04" + "MPY: soft reboot\r\n" + std::string(banner));
  EXPECT_EQ(take_seen(), "rebooted ");
}

TEST_F(RawReplTest, KeepsWhatAThreadWritesOutOfTheAnswer) {
  get_ready();
  start("6*7", true);
  sent_to_the_end();
  says(std::string("1OK2\r\n\6") + "3" + mark + "42\6\r\n4\x04" + "5\x04" + "6\r\n");
  EXPECT_EQ(take_seen(), "[3] ");
  says(">7");
  EXPECT_EQ(take_seen(), "finished(42|) ");
  EXPECT_TRUE(repl.at_prompt());
}

TEST_F(RawReplTest, AsksForThePromptUntilTheBoardShowsIt) {
  repl.recover(now, false);
  EXPECT_EQ(sent(), seek);
  passes(Milliseconds(49));
  EXPECT_EQ(sent(), "");
  passes(Milliseconds(1));
  EXPECT_EQ(sent(), seek);
  passes(Milliseconds(99));
  EXPECT_EQ(sent(), "");
  passes(Milliseconds(1));
  EXPECT_EQ(sent(), seek);
  says(std::string("\0Micro", 6));
  says("Python v1.9.2 on 2017-09-01; micro:bit\r\nType \"help()\" for more information.\r\n>>> \r\n>>> ");
  says("raw REPL; CTRL-B ");
  EXPECT_FALSE(repl.at_prompt());
  says("to exit\r\n>");
  EXPECT_EQ(sent_to_the_end(), guard);
  says(done);
  EXPECT_EQ(take_seen(), "ready ");
  EXPECT_TRUE(repl.at_prompt());
}

TEST_F(RawReplTest, RunsCodeAndKeepsItsOutputApart) {
  get_ready();
  start("print('a')");
  EXPECT_EQ(sent(), checked_code("print('a')", CodeKind::statements).text + "\x04");
  says("OK\6a\r\n" + mark + "\r\n\x04\x04>");
  EXPECT_EQ(take_seen(), "[a\n] finished(|) ");
}

TEST_F(RawReplTest, GivesTheSameEventsWhereverTheBytesAreCut) {
  const std::string output = "x\x04\x04>OK\r\n\xc3\xa9\xf0\x9f\x98\x80\x06";
  get_ready(false);
  start("f()", true);
  const std::string answer = "OK\6" + output + mark + "'v'\n\x04\x04>";
  for (const char byte : answer) says({&byte, 1});
  const std::string bytewise = take_seen();
  std::string text;
  for (std::size_t at = bytewise.find('['); at != bytewise.npos; at = bytewise.find('[', at + 1)) {
    const std::string piece = bytewise.substr(at + 1, bytewise.find("] ", at) - at - 1);
    EXPECT_TRUE(is_valid_utf8(piece)) << "a character was cut";
    text += piece;
  }
  EXPECT_EQ(text, output) << "a board that writes LF alone may print CR LF";
  EXPECT_THAT(bytewise, EndsWith("finished('v'|) "));
}

TEST_F(RawReplTest, TellsATraceback) {
  get_ready();
  start("1/0");
  says("OK\6" + mark + "\r\n\x04Traceback (most recent call last):\r\nZeroDivisionError: \r\n\x04>");
  EXPECT_EQ(take_seen(), "finished(|Traceback (most recent call last):\nZeroDivisionError: \n) ");
}

TEST_F(RawReplTest, RefusesBlankCodeWhichWouldResetTheBoard) {
  get_ready();
  EXPECT_THROW(repl.run(" \n\t", CodeKind::statements, now), Error);
  EXPECT_EQ(sent(), "");
  EXPECT_TRUE(repl.at_prompt());
}

TEST_F(RawReplTest, SendsAgainWhatTheGuardRefused) {
  get_ready();
  start("print('a')");
  const std::string code = sent();
  says("OK\x04\x04>");
  EXPECT_EQ(sent(), code);
  says("OK\x04Traceback (most recent call last):\r\nNameError: name '_' isn't defined\r\n\x04>");
  EXPECT_EQ(sent(), code);
  EXPECT_EQ(repl.damaged(), 2u);
  says("OK\6" + mark + "None\r\n\x04\x04>");
  EXPECT_EQ(take_seen(), "finished(|) ");
  EXPECT_EQ(repl.burst(), 1024u) << "damage as rare as this costs less than pauses";
}

TEST_F(RawReplTest, SendsTheGuardAgainUntilItArrivedWhole) {
  repl.recover(now, true);
  says(banner);
  EXPECT_EQ(sent_to_the_end(), std::string(seek) + guard);
  says(
      "OK\x06"
      "12345\x06\r\n\x04\x04>");
  EXPECT_EQ(sent_to_the_end(), guard);
  says("OK\x04SyntaxError: invalid syntax\r\n\x04>");
  EXPECT_EQ(sent(), guard);
  EXPECT_EQ(take_seen(), "");
  says(done);
  EXPECT_EQ(take_seen(), "ready ");
}

TEST_F(RawReplTest, DoesNotSendAgainWhatMayHaveRun) {
  get_ready();
  start("launch()");
  sent();
  says("OK\r\nlaunched\r\n\x04\x04>");
  EXPECT_EQ(sent(), "");
  EXPECT_EQ(take_seen(), "garbled ");
  EXPECT_TRUE(repl.at_prompt());
}

TEST_F(RawReplTest, PacesWhatWasDamagedAgainAndAgain) {
  get_ready();
  start("x = '" + std::string(60, 'a') + "'");
  const std::string code = sent();
  for (int i = 0; i < 2; ++i) {
    says("OK\x04SyntaxError: invalid syntax\r\n\x04>");
    EXPECT_EQ(sent(), code) << "that may have been chance";
  }
  says("OK\x04SyntaxError: invalid syntax\r\n\x04>");
  EXPECT_EQ(sent(), ask_paste) << "it would help";
  says(banner);  // as firmware before 1.14 answers
  EXPECT_EQ(repl.has_paste(), false);
  const Instant before = now;
  const std::string first = sent();
  EXPECT_EQ(first, code.substr(0, (code.size() - 1) / 2));
  EXPECT_EQ(first + sent_to_the_end(), code);
  EXPECT_GE(now - before, Milliseconds(first.size() / 16));
}

TEST_F(RawReplTest, SendsLessAtOnceWhereMuchIsDamaged) {
  get_ready();
  for (int i = 0; i < 20; ++i) {
    start("f()");
    for (int damage = 0; damage < 2; ++damage) says("OK\x04\x04>");
    says("OK\6" + mark + "\n\x04\x04>");
  }
  EXPECT_LE(repl.burst(), 512u);
  for (int i = 0; i < 64 * 6; ++i) {
    start("f()");
    says("OK\6" + mark + "\n\x04\x04>");
  }
  EXPECT_EQ(repl.burst(), 1024u);
}

TEST_F(RawReplTest, GivesUpAfterSoManySends) {
  get_ready();
  start("f()");
  for (int i = 1; i < RawRepl::Options{}.attempts; ++i) {
    says("OK\x04NameError: name 'j' isn't defined\r\n\x04>");
    while (!sent().ends_with('\x04')) {
      says(std::string_view("R\0>", 3));  // it has no raw paste
      if (repl.next_tick() == now + Milliseconds(1)) pass_to_next();
    }
  }
  EXPECT_EQ(take_seen(), "");
  says("OK\x04SyntaxError: invalid syntax\r\n\x04>");
  EXPECT_EQ(take_seen(), "undelivered ");
  EXPECT_TRUE(repl.at_prompt());
}

TEST_F(RawReplTest, FindsThePromptAgainWhereTheEndOfTheLineWasLost) {
  get_ready();
  start("print('a')");
  const std::string code = sent();
  passes(Milliseconds(400));
  EXPECT_EQ(sent(), seek);
  says(banner);
  EXPECT_EQ(sent(), code);
  says("OK\6" + mark + "\r\n\x04\x04>");
  EXPECT_EQ(take_seen(), "finished(|) ");
}

TEST_F(RawReplTest, RunsNothingTwiceWhenTheBoardWasOnlySlow) {
  get_ready();
  start("launch()");
  passes(Milliseconds(400));
  sent();
  says("OK\6laun\x04Traceback:\nKeyboardInterrupt: \n\x04>" + std::string(banner));
  EXPECT_EQ(sent(), "");
  EXPECT_THAT(take_seen(), StartsWith("finished(|KeyboardInterrupt"));
}

TEST_F(RawReplTest, SendsByRawPasteWithinTheBoardsCredit) {
  get_ready();
  start("x = '" + std::string(1200, 'a') + "'");
  EXPECT_EQ(sent(), ask_paste);
  says(std::string_view("R\x01\x80\x00\x01", 5));
  EXPECT_EQ(sent().size() % 128, 0u);
  std::size_t total = 256;
  std::string last;
  while (!last.ends_with('\x04')) {
    says("\x01");
    last = sent();
    total += last.size();
    ASSERT_LE(last.size(), 129u);
    ASSERT_FALSE(last.empty());
  }
  EXPECT_EQ(total, checked_code("x = '" + std::string(1200, 'a') + "'", CodeKind::statements).text.size() + 1);
  says("\x01\x04\6" + mark + "\r\n\x04\x04>");
  EXPECT_EQ(take_seen(), "finished(|) ");
  start("y = '" + std::string(1200, 'a') + "'");
  EXPECT_EQ(sent(), ask_paste) << "each paste is opened so; whether there is one is known";
}

TEST_F(RawReplTest, AnswersABoardThatStopsAPaste) {
  get_ready();
  start("x = '" + std::string(1200, 'a') + "'");
  sent();
  says(std::string_view("R\x01\x80\x00\x01", 5));
  sent();
  says("\x04");
  EXPECT_EQ(sent(), "\x04");
  says("\x04MemoryError: \r\n\x04>");
  EXPECT_EQ(sent(), leave_and_seek);
  says("\r\nMicroPython v1.9.2; micro:bit\r\n>>> \r\n>>> " + std::string(banner));
  EXPECT_EQ(sent(), collect_garbage);
  says("OK\x04\x04>");
  EXPECT_EQ(sent(), ask_paste);
  says(std::string_view("R\x01\x80\x00\x01", 5));
  says("\x04\x04MemoryError: \r\n\x04>");
  EXPECT_EQ(take_seen(), "finished(|MemoryError: \n) not begun ");
}

TEST_F(RawReplTest, HasTheBoardCollectItsGarbageBeforeItsHeapIsTakenForFull) {
  get_ready();
  start("f()", true);
  const std::string code = sent();
  for (int i = 0; i < 2; ++i) {
    says("OK\x04MemoryError: parser could not allocate enough memory\r\n\x04>");
    EXPECT_EQ(sent(), leave_and_seek);
    says(banner);
    EXPECT_EQ(sent(), collect_garbage);
    if (i == 0) says("OK\x04SyntaxError: invalid syntax\r\n\x04>");  // damaged on the way: it is tried all the same
    if (i == 1) {
      passes(Milliseconds(400));
      EXPECT_EQ(sent(), seek);
      says(banner);
      EXPECT_EQ(sent(), collect_garbage);
      says("OK\x04\x04>");
    }
    EXPECT_EQ(sent(), code);
    says("OK\6" + mark + "5\n\x04\x04>");
    EXPECT_EQ(take_seen(), "finished(5|) ");
    start("f()", true);
    EXPECT_EQ(sent(), code);
  }
}

TEST_F(RawReplTest, DoesSoWhereTheBoardCouldNotReadTheCodeAndNotWhereItRan) {
  const std::string guarded =
      "\r\n\x04Traceback (most recent call last):\r\n  File \"<stdin>\", line 1, in <module>\r\n"
      "  File \"<string>\", line 10, in _j\r\n  File \"<string>\", line 7, in _j\r\n";
  const std::string unread =
      "  File \"<string>\", line 1\r\nMemoryError: parser could not allocate enough memory\r\n\x04>";
  get_ready();
  start("f()", true);
  const std::string code = sent();
  says("OK\6" + mark + guarded + unread);
  EXPECT_EQ(take_seen(), "");
  EXPECT_EQ(sent(), leave_and_seek);
  says(banner);
  EXPECT_EQ(sent(), collect_garbage);
  says("OK\x04\x04>");
  EXPECT_EQ(sent(), code);
  says("OK\6" + mark + guarded + unread);
  EXPECT_THAT(take_seen(), EndsWith("not begun "));
  for (const char* running :
       {"  File \"<string>\", line 1, in <module>\r\n", "  File \"<string>\", line 3, in f\r\n"}) {
    start("f()", true);
    says("OK\6" + mark + guarded + running + unread);
    EXPECT_THAT(take_seen(), EndsWith("enough memory\n) ")) << "what it called could not be read";
    start("f()", true);
    says("OK\6" + mark + guarded + running + "MemoryError: \r\n\x04>");
    EXPECT_THAT(take_seen(), EndsWith("MemoryError: \n) "));
  }
}

TEST_F(RawReplTest, HasGarbageCollectedForTheGuardToo) {
  repl.recover(now, true);
  says(banner);
  sent_to_the_end();
  says("OK\x04MemoryError: \r\n\x04>");
  EXPECT_EQ(sent(), leave_and_seek);
  says("\r\nMicroPython v1.9.2; micro:bit\r\n>>> \r\n>>> " + std::string(banner));
  EXPECT_EQ(sent(), collect_garbage);
  says("OK\x04\x04>");
  EXPECT_EQ(sent_to_the_end(), guard);
  says(done);
  EXPECT_EQ(take_seen(), "ready ");
}

TEST_F(RawReplTest, DoesWithoutRawPasteWhereTheQuestionHangs) {
  get_ready();
  start("x = '" + std::string(1200, 'a') + "'");
  EXPECT_EQ(sent(), ask_paste);
  passes(Milliseconds(400));
  EXPECT_EQ(sent(), seek);
  says(banner);
  EXPECT_EQ(sent().size(), 1024u);
  EXPECT_EQ(repl.has_paste(), false);
  EXPECT_EQ(repl.damaged(), 0u);
}

TEST_F(RawReplTest, InterruptsWhatRuns) {
  get_ready();
  start("loop()");
  sent();
  says("OK\6");
  EXPECT_EQ(repl.next_tick(), std::nullopt) << "code may run for as long as it likes";
  repl.interrupt(now);
  EXPECT_EQ(sent(), "\x03");
  says(mark + "\r\n\x04Traceback:\r\nKeyboardInterrupt: \r\n\x04>");
  EXPECT_THAT(take_seen(), StartsWith("finished(|Traceback"));
}

TEST_F(RawReplTest, TakesAnInterruptInsideTheGuardForTheEnd) {
  get_ready();
  start("loop()");
  says("OK\6abc");
  repl.interrupt(now);
  says("\x04Traceback:\r\nKeyboardInterrupt: \r\n");
  says("\x04>");
  EXPECT_EQ(take_seen(), "[abc] finished(|Traceback:\nKeyboardInterrupt: \n) ");
}

TEST_F(RawReplTest, SeesAResetInMidCall) {
  get_ready();
  start("loop()");
  sent();
  says("OK\6");
  says(std::string(1, '\0') + "MicroPython v1.9.2-34 on 2017-09-01; micro:bit\r\nType \"help()\".\r\n>>");
  EXPECT_EQ(sent(), "");
  says("> ");
  EXPECT_EQ(sent(), "\x01") << "asks, for a program may print this too";
  passes(Milliseconds(50));
  EXPECT_EQ(sent(), "\x01") << "asks again, for a board that has just begun may not listen yet";
  says("\r\n" + std::string(banner));
  EXPECT_THAT(take_seen(), EndsWith("rebooted "));
  EXPECT_FALSE(repl.at_prompt());
}

TEST_F(RawReplTest, SeesAResetBetweenCalls) {
  get_ready();
  start("f()");
  says("OK\x04Traceback (most recent call last):\r\nNameError: name '_j' isn't defined\r\n\x04>");
  EXPECT_EQ(take_seen(), "rebooted ");
  get_ready();
  repl.run(checked_call(12, "3", "(3,)"), now);
  says("OK\x04Traceback (most recent call last):\r\nNameError: name '_j12' isn't defined\r\n\x04>");
  EXPECT_EQ(take_seen(), "rebooted ");
  get_ready();
  start("f()");
  sent();
  says("OK\x04Traceback (most recent call last):\r\nNameError: name '_jx' isn't defined\r\n\x04>");
  EXPECT_EQ(take_seen(), "") << "that is damage";
  EXPECT_NE(sent(), "");
}

// Else all that was set up on the board would be set up a second time beside itself.
TEST_F(RawReplTest, DoesNotTakeADamagedHandleForAReset) {
  get_ready();
  repl.run(checked_call(12, "3", "(3,)"), now);
  const std::string call = sent();
  for (const char* const damaged : {"_j13", "_j1", "_j112"}) {
    says(fmt::format("OK\x04Traceback (most recent call last):\r\nNameError: name '{}' isn't defined\r\n\x04>",
                     damaged));
    EXPECT_EQ(take_seen(), "");
    EXPECT_EQ(sent(), call);
  }
}

TEST_F(RawReplTest, RestartsTheInterpreter) {
  get_ready();
  repl.soft_reset(now);
  EXPECT_EQ(sent(), "\x04");
  says("OK\r\nMPY: soft reboot\r\n" + std::string(banner));
  EXPECT_EQ(take_seen(), "rebooted ");
}

TEST_F(RawReplTest, IgnoresTheNoiseOfThreadsBetweenCalls) {
  get_ready();
  says("tick OK \x04\x04> tock");
  start("f()");
  says("tick OK");
  says(
      "OK\6"
      "1" +
      mark + "\n\x04\x04>");
  EXPECT_EQ(take_seen(), "[1] finished(|) ");
}

}  // namespace

}  // namespace sojourn::device
