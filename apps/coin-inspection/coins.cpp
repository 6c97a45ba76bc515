#include "coins.hpp"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace coins {

namespace {

constexpr int widest_coin = 70;  // pixels; what is brighter and wider is light on the cloth
constexpr int look_side = 16;

cv::Mat disk(int radius) {
  return cv::getStructuringElement(cv::MORPH_ELLIPSE, {2 * radius + 1, 2 * radius + 1});
}

// Its rim is left out, which is much like any other coin's.
std::vector<int> look_of(const cv::Mat& gray, const cv::Rect& place) {
  const cv::Rect inner(place.x + place.width / 6, place.y + place.height / 6, place.width - 2 * (place.width / 6),
                       place.height - 2 * (place.height / 6));
  const cv::Rect seen = inner & cv::Rect(0, 0, gray.cols, gray.rows);
  if (seen.empty()) return std::vector<int>(look_side * look_side);
  cv::Mat small;
  cv::resize(gray(seen), small, {look_side, look_side}, 0, 0, cv::INTER_AREA);
  return {small.begin<std::uint8_t>(), small.end<std::uint8_t>()};
}

}  // namespace

sojourn::JsonObject Coin::to_json() const {
  return {{"x", place.x},           {"y", place.y}, {"width", place.width},
          {"height", place.height}, {"area", area}, {"look", sojourn::JsonArray(look.begin(), look.end())}};
}

Coin Coin::from_json(const sojourn::JsonObject& json) {
  const auto number = [&](std::string_view key) { return json.at(key).to_number<int>(); };
  Coin coin{.place = {number("x"), number("y"), number("width"), number("height")},
            .area = json.at("area").as_double()};
  for (const sojourn::Json& value : json.at("look").as_array()) coin.look.push_back(value.to_number<int>());
  return coin;
}

cv::Mat lifted(const cv::Mat& gray) {
  cv::Mat smooth;
  cv::GaussianBlur(gray, smooth, {0, 0}, 1.2);
  // The cloth as it is without coins: the darkest of each neighbourhood, where no coin fills all of it.
  constexpr int margin = widest_coin / 2;
  cv::Mat wide;
  cv::copyMakeBorder(smooth, wide, margin, margin, margin, margin, cv::BORDER_REPLICATE);
  cv::Mat cloth;
  cv::morphologyEx(wide, cloth, cv::MORPH_OPEN,
                   cv::getStructuringElement(cv::MORPH_RECT, {widest_coin + 1, widest_coin + 1}));
  cv::GaussianBlur(cloth, cloth, {0, 0}, 10);
  cv::Mat result;
  cv::subtract(smooth, cloth(cv::Rect(margin, margin, gray.cols, gray.rows)), result);
  return result;
}

double threshold_of(const cv::Mat& lifted) {
  cv::Mat unused;
  return cv::threshold(lifted, unused, 0, 255, cv::THRESH_BINARY | cv::THRESH_OTSU);
}

std::vector<Coin> find(const cv::Mat& gray, double threshold, double least_area) {
  cv::Mat mask;
  cv::threshold(lifted(gray), mask, threshold, 255, cv::THRESH_BINARY);
  cv::morphologyEx(mask, mask, cv::MORPH_CLOSE, disk(3));
  // Dark reliefs inside a coin belong to it.
  std::vector<std::vector<cv::Point>> outlines;
  cv::findContours(mask, outlines, cv::RETR_EXTERNAL, cv::CHAIN_APPROX_NONE);
  cv::drawContours(mask, outlines, -1, 255, cv::FILLED);
  cv::morphologyEx(mask, mask, cv::MORPH_OPEN, disk(4));

  cv::Mat labels;
  cv::Mat stats;
  cv::Mat centres;
  const int count = cv::connectedComponentsWithStats(mask, labels, stats, centres);
  std::vector<Coin> coins;
  for (int i = 1; i < count; ++i) {  // 0 is the cloth
    const double area = stats.at<int>(i, cv::CC_STAT_AREA);
    if (area < least_area) continue;
    const cv::Rect place(stats.at<int>(i, cv::CC_STAT_LEFT), stats.at<int>(i, cv::CC_STAT_TOP),
                         stats.at<int>(i, cv::CC_STAT_WIDTH), stats.at<int>(i, cv::CC_STAT_HEIGHT));
    coins.push_back({.place = place, .area = area, .look = look_of(gray, place)});
  }
  return coins;
}

double likeness(const Coin& coin, const cv::Mat& gray, cv::Point2d shift) {
  const cv::Rect place = coin.place + cv::Point(cvRound(shift.x), cvRound(shift.y));
  cv::Mat first;
  cv::Mat second;
  cv::Mat(coin.look).convertTo(first, CV_64F);
  cv::Mat(look_of(gray, place)).convertTo(second, CV_64F);
  first -= cv::mean(first);
  second -= cv::mean(second);
  const double size = std::sqrt(first.dot(first) * second.dot(second));
  return size == 0 ? 0 : first.dot(second) / size;
}

}  // namespace coins
