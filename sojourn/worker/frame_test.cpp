#include "sojourn/worker/frame.hpp"

#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "sojourn/base/error.hpp"

namespace sojourn::worker {

namespace {

using testing::HasSubstr;

void feed(FrameDecoder& decoder, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto room = decoder.room();
    const std::size_t part = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), part);
    decoder.filled(part);
    bytes.remove_prefix(part);
  }
}

std::string framed(std::string_view json) {
  const auto length = static_cast<std::uint32_t>(json.size());
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(length >> shift & 0xFF);
  return bytes + std::string(json);
}

// What reading `bytes` fails with; "" when it does not fail.
std::string failure(std::string_view bytes, std::size_t max_bytes = 1000) {
  FrameDecoder decoder(max_bytes);
  feed(decoder, bytes);
  try {
    while (decoder.next()) {
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::protocol_error);
    return error.message();
  }
  return "";
}

TEST(Frame, ReadsBackWhatWasBuilt) {
  const std::string bytes = FrameBuilder("call")
                                .text("function", "r\"un")
                                .integer("n", -5)
                                .flag("end", true)
                                .value("input", Json({{"a", JsonArray{1, 2.5, nullptr}}}))
                                .raw("state", "{\"k\":1}")
                                .finish(1000);
  FrameDecoder decoder(1000);
  feed(decoder, bytes);
  auto frame = decoder.next();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->type(), "call");
  EXPECT_EQ(frame->text("function"), "r\"un");
  EXPECT_EQ(frame->integer("n"), -5);
  EXPECT_TRUE(frame->flag("end"));
  EXPECT_EQ(frame->take("input"), Json({{"a", JsonArray{1, 2.5, nullptr}}}));
  EXPECT_EQ(frame->take_object("state"), (JsonObject{{"k", 1}}));
  EXPECT_FALSE(decoder.next());
}

TEST(Frame, IsTheSameBytesOnTheWire) {
  EXPECT_EQ(FrameBuilder("ping").integer("n", 7).finish(1000),
            std::string("\0\0\0\x15{\"type\":\"ping\",\"n\":7}", 25));
}

TEST(Frame, IsFoundWhereverTheStreamIsCut) {
  const std::string bytes = framed(R"({"type":"a","n":1})") + framed(R"({"type":"b"})") + framed(R"({"type":"c"})");
  for (std::size_t first = 0; first <= bytes.size(); ++first) {
    for (std::size_t second = first; second <= bytes.size(); ++second) {
      FrameDecoder decoder(1000);
      std::string types;
      for (const auto part :
           {std::string_view(bytes).substr(0, first), std::string_view(bytes).substr(first, second - first),
            std::string_view(bytes).substr(second)}) {
        feed(decoder, part);
        while (const auto frame = decoder.next()) types += frame->type();
      }
      ASSERT_EQ(types, "abc") << "cut at " << first << " and " << second;
    }
  }
}

TEST(Frame, MayBeAsLargeAsTheLimitAndNoLarger) {
  const std::string text = R"({"type":"a","x":")" + std::string(981, 'x') + "\"}";
  ASSERT_EQ(text.size(), 1000u);
  EXPECT_EQ(failure(framed(text)), "");
  EXPECT_THAT(failure(framed(text), 999), HasSubstr("1000 bytes; at most 999"));
}

TEST(Frame, IsRefusedByItsLengthBeforeItComes) {
  FrameDecoder decoder(1000);
  feed(decoder, std::string_view("\xFF\xFF\xFF\xFF", 4));
  EXPECT_THROW(decoder.next(), Error);
  EXPECT_LT(decoder.room().size(), 1'000'000u);
}

TEST(Frame, IsRefusedWhenItIsNoStrictObjectWithAType) {
  EXPECT_THAT(failure(std::string(4, '\0')), HasSubstr("0 bytes"));
  for (const char* text : {"[]", "1", "{", "{}", R"({"type":1})", R"({"type":"a"} x)", R"({"type":"a","type":"b"})",
                           R"({"type":"a","n":NaN})", "{\"type\":\"\xFF\"}", "\xEF\xBB\xBF{\"type\":\"a\"}"}) {
    EXPECT_NE(failure(framed(text)), "") << text;
  }
}

TEST(Frame, HoldsAValueOfFullDepthAndNoDeeperOne) {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_EQ(failure(framed(R"({"type":"a","x":)" + nested(frame_depth - 1) + "}")), "");
  EXPECT_NE(failure(framed(R"({"type":"a","x":)" + nested(frame_depth) + "}")), "");
}

TEST(Frame, NamesTheFieldThatIsMissing) {
  const Frame frame(JsonObject{{"type", "call"}, {"n", "x"}});
  try {
    (void)frame.text("function");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::AllOf(HasSubstr("\"call\""), HasSubstr("\"function\"")));
  }
  EXPECT_THROW((void)frame.integer("n"), Error);
  EXPECT_THROW((void)frame.flag("n"), Error);
  EXPECT_FALSE(frame.flag("other"));
}

TEST(Frame, IsRefusedWhenItIsTooLargeToSend) {
  EXPECT_THROW(FrameBuilder("a").text("x", std::string(1000, 'x')).finish(1000), Error);
  EXPECT_THROW(FrameBuilder("a").value("x", Json(std::string(limits::json_bytes, 'x'))), Error);
}

TEST(Frame, SurvivesAnyBytes) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = framed(R"({"type":"a","n":[1,2]})") + framed(R"({"type":"b"})");
    for (int change = 0; change < 3; ++change) bytes[random() % bytes.size()] = static_cast<char>(random());
    failure(bytes);
  }
}

}  // namespace

}  // namespace sojourn::worker
