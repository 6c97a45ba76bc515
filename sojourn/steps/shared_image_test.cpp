#include "sojourn/steps/shared_image.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "sojourn/steps/crc32.hpp"
#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

namespace {

using testing::HasSubstr;

class Images : public testing::Test {
 protected:
  void TearDown() override {
    if (SharedImage::remove(image.id())) return;
    EXPECT_TRUE(is_removed);
  }

  // The code and message that opening fails with.
  std::string refusal(const std::string& id, const JsonObject& meta) {
    try {
      SharedImage::open(id, meta);
    } catch (const StepError& error) {
      return std::string(info(error.code()).name) + ": " + error.message();
    }
    return "it was opened";
  }

  SharedImage image = SharedImage::create({.width = 5, .height = 3, .stride = 16});
  bool is_removed = false;
};

TEST_F(Images, AreReadWhereTheyWereWritten) {
  std::ranges::fill(image.writable(), std::byte{7});
  image.writable()[16] = std::byte{200};
  const SharedImage seen = SharedImage::open(image.id(), image.describe());
  EXPECT_EQ(seen.meta().width, 5);
  EXPECT_EQ(seen.bytes().size(), 48u);
  EXPECT_EQ(seen.row(1).size(), 15u);
  EXPECT_EQ(seen.row(1)[0], std::byte{200});
  image.writable()[17] = std::byte{201};
  EXPECT_EQ(seen.row(1)[1], std::byte{201});  // the same pages
}

TEST_F(Images, SayWhatTheyAre) {
  EXPECT_EQ(to_text(image.describe()),
            R"({"width":5,"height":3,"channels":3,"stride":16,"format":"rgb8","checksum":"crc32:f288b395"})");
}

TEST_F(Images, MayHaveSixteenBitsOfGrey) {
  SharedImage wide = SharedImage::create({.width = 3, .height = 2, .format = PixelFormat::gray16, .stride = 8});
  const std::uint16_t value = 40'000;
  std::memcpy(wide.writable().data() + 8 + 2, &value, sizeof value);
  const SharedImage seen = SharedImage::open(wide.id(), wide.describe());
  SharedImage::remove(wide.id());
  EXPECT_EQ(seen.meta().channels(), 1);
  ASSERT_EQ(seen.row(1).size(), 6u);
  std::uint16_t read = 0;
  std::memcpy(&read, seen.row(1).data() + 2, sizeof read);
  EXPECT_EQ(read, 40'000);
}

TEST_F(Images, ThatAreMissingAreAnErrorAndNeverBlack) {
  is_removed = SharedImage::remove(image.id());
  EXPECT_FALSE(SharedImage::remove(image.id()));
  EXPECT_THAT(refusal(image.id(), image.describe()), HasSubstr("image_not_found: shared_mem_id: sojourn-image-"));
}

TEST_F(Images, ThatAreShorterThanDeclaredAreAnError) {
  JsonObject meta = image.describe();
  meta["height"] = 4;
  EXPECT_THAT(refusal(image.id(), meta), HasSubstr("has 48 bytes; its image_meta declares 64"));
}

TEST_F(Images, WithAnotherChecksumAreAnError) {
  const JsonObject meta = image.describe();
  image.writable()[3] = std::byte{1};
  EXPECT_THAT(refusal(image.id(), meta), HasSubstr("image_load_failed: "));
  EXPECT_THAT(refusal(image.id(), meta), HasSubstr("another checksum"));
}

TEST_F(Images, AreNotMadeInSizesThatNoneMayHave) {
  constexpr std::int64_t huge = std::int64_t{1} << 62;
  for (const ImageMeta& meta :
       std::vector<ImageMeta>{{.width = 0, .height = 1},
                              {.width = 1, .height = -1},
                              {.width = huge, .height = huge},
                              {.width = 2, .height = 2, .stride = 5},
                              {.width = 2, .height = 2, .stride = -6},
                              {.width = 2, .height = 2, .format = PixelFormat::gray16, .stride = 5},
                              {.width = 2, .height = 4, .stride = huge},
                              {.width = 65'535, .height = 65'535}}) {
    EXPECT_THROW(SharedImage::create(meta), StepError) << to_text(JsonObject{{"width", meta.width}});
  }
}

TEST_F(Images, MayBeReadOnAfterTheyWereRemoved) {
  const SharedImage seen = SharedImage::open(image.id(), image.describe());
  is_removed = SharedImage::remove(image.id());
  EXPECT_EQ(crc32(seen.bytes()), crc32(image.bytes()));
}

TEST_F(Images, OnlyAreOpenedAndRemovedByIdsOfImages) {
  EXPECT_THAT(refusal("", image.describe()), HasSubstr("image_not_found: shared_mem_id: is missing"));
  for (const std::string id : {"dev-shm:s-1", "sojourn-image-../x", "sojourn-image-a/b", "/sojourn-image-a"}) {
    EXPECT_THAT(refusal(id, image.describe()), HasSubstr("is no id of an image"));
    EXPECT_THROW(SharedImage::remove(id), StepError);
  }
}

}  // namespace

}  // namespace sojourn::steps
