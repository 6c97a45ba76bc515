#include "algorithm.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "sojourn/steps/detection.hpp"

namespace steps = sojourn::steps;

namespace {

// Pictures of one brightness each, and what the algorithm says of them.
class NewAlgorithmTest : public testing::Test {
 protected:
  ~NewAlgorithmTest() override {
    for (const std::string& id : images_) steps::SharedImage::remove(id);
  }

  steps::StepInput picture(int brightness) {
    steps::SharedImage image =
        steps::SharedImage::create({.width = 8, .height = 4, .format = steps::PixelFormat::gray8});
    std::ranges::fill(image.writable(), static_cast<std::byte>(brightness));
    images_.push_back(image.id());
    return {.shared_mem_id = image.id(), .image_meta = image.describe()};
  }

  sojourn::JsonObject detect(std::vector<steps::StepInput> pictures) {
    return steps::detect(runner_, session_, {.steps = std::move(pictures)});
  }

 private:
  std::vector<std::string> images_;
  sojourn::SystemClock clock_;
  steps::LineRecorder recorder_{std::clog};
  sojourn::session::Session session_{"test"};
  steps::StepRunner runner_{[] { return std::make_unique<NewAlgorithm>(); }, recorder_, clock_};
};

TEST_F(NewAlgorithmTest, TakesAProductThatIsAsBrightAsTheReference) {
  EXPECT_EQ(detect({picture(100), picture(105)}).at("result_status"), "OK");
}

TEST_F(NewAlgorithmTest, RefusesOneThatIsNot) {
  const auto outcome = detect({picture(100), picture(50)});
  EXPECT_EQ(outcome.at("result_status"), "NG");
  EXPECT_EQ(outcome.at("ng_reason"), "too dark");
}

TEST_F(NewAlgorithmTest, FailsWithoutAPicture) {
  EXPECT_EQ(detect({picture(100)}).at("status"), "ERROR");
}

}  // namespace
