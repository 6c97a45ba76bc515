#include "coin_inspection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <optional>

#include "coins.hpp"

namespace steps = sojourn::steps;
using coins::Coin;
using sojourn::Json;
using sojourn::JsonArray;
using sojourn::JsonObject;
using sojourn::session::Session;

namespace {

constexpr double least_contrast = 20;  // grey values between coins and cloth
constexpr double least_share = 0.4;    // of the middle coin's area: what is smaller is dirt
constexpr double damaged_share = 0.85;
constexpr double damaged_likeness = 0.8;
constexpr double foreign_likeness = 0.4;
constexpr double foreign_share = 0.7;  // what covers less of the place is what is left of the coin

// A picture that was sent as a file, PNG or JPEG, lies in the session's folder, where this process works.
cv::Mat picture_of_file(const Json& file) {
  const Json* path = file.is_object() ? file.get_object().if_contains("path") : nullptr;
  if (path == nullptr || !path->is_string()) {
    throw steps::StepError(steps::StepCode::image_not_found, "image_meta.file: must be a file that was sent along");
  }
  namespace fs = std::filesystem;
  const fs::path real = fs::weakly_canonical(std::string(path->get_string()));
  const fs::path inside = real.lexically_relative(fs::canonical(fs::current_path()));
  if (inside.empty() || *inside.begin() == "..") {
    throw steps::StepError(steps::StepCode::image_not_found, "image_meta.file: lies outside the session's folder");
  }
  const cv::Mat picture = cv::imread(real.string(), cv::IMREAD_GRAYSCALE);
  if (picture.empty()) {
    throw steps::StepError(steps::StepCode::image_load_failed,
                           fmt::format("image_meta.file: {} is no picture that can be read", inside.string()));
  }
  return picture;
}

// One in shared memory, as a copy in grey.
cv::Mat picture_in_memory(const steps::SharedImage& image) {
  const steps::ImageMeta& meta = image.meta();
  const int depth = meta.format == steps::PixelFormat::gray16 ? CV_16U : CV_8U;
  const cv::Mat pixels(static_cast<int>(meta.height), static_cast<int>(meta.width),
                       CV_MAKETYPE(depth, static_cast<int>(meta.channels())),
                       const_cast<std::byte*>(image.bytes().data()), static_cast<std::size_t>(meta.row_bytes()));
  cv::Mat gray;
  switch (meta.format) {
    case steps::PixelFormat::gray8:
      return pixels.clone();
    case steps::PixelFormat::gray16:
      pixels.convertTo(gray, CV_8U, 1.0 / 257);
      break;
    case steps::PixelFormat::rgb8:
      cv::cvtColor(pixels, gray, cv::COLOR_RGB2GRAY);
      break;
    case steps::PixelFormat::bgr8:
      cv::cvtColor(pixels, gray, cv::COLOR_BGR2GRAY);
      break;
    case steps::PixelFormat::rgba8:
      cv::cvtColor(pixels, gray, cv::COLOR_RGBA2GRAY);
      break;
  }
  return gray;
}

cv::Mat picture_of(const steps::Shot& shot) {
  if (const Json* file = shot.image_meta.if_contains("file")) return picture_of_file(*file);
  return picture_in_memory(shot.image());
}

steps::Rect rect_of(const Coin& coin, std::string label) {
  return {.x = coin.place.x,
          .y = coin.place.y,
          .width = coin.place.width,
          .height = coin.place.height,
          .label = std::move(label)};
}

double middle(std::vector<double> values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

Json needed(Session& session, std::string_view key) {
  const auto value = session.get(key);
  if (!value) throw steps::StepError(steps::StepCode::step_not_allowed, "calibrate and locate first");
  return *value;
}

steps::Result calibrate(const cv::Mat& picture, Session& session) {
  const double threshold = coins::threshold_of(coins::lifted(picture));
  const std::vector<Coin> found = coins::find(picture, threshold, 1);
  if (threshold < least_contrast || found.empty()) return steps::Result::not_good("too little contrast", {});
  std::vector<double> areas;
  for (const Coin& coin : found) areas.push_back(coin.area);
  session.set("threshold", threshold);
  session.set("least_area", least_share * middle(std::move(areas)));
  return steps::Result::good({{"threshold", threshold}});
}

steps::Result locate(const cv::Mat& picture, std::int64_t expected, Session& session) {
  const std::vector<Coin> found =
      coins::find(picture, needed(session, "threshold").as_double(), needed(session, "least_area").as_double());
  JsonArray kept;
  std::vector<steps::Rect> rects;
  for (const Coin& coin : found) {
    kept.push_back(coin.to_json());
    rects.push_back(rect_of(coin, "coin"));
  }
  session.set("coins", kept);
  JsonObject data{{"count", kept.size()}, {"position_rects", to_json(rects)}};
  if (std::ssize(found) == expected) return steps::Result::good(std::move(data));
  return steps::Result::not_good(fmt::format("{} coins, not {}", found.size(), expected), {}, std::move(data));
}

// The one of `found` that lies nearest to `where`, not farther than `reach`.
const Coin* nearest(const std::vector<Coin>& found, cv::Point2d where, double reach) {
  const Coin* best = nullptr;
  for (const Coin& coin : found) {
    const double distance = cv::norm(coin.centre() - where);
    if (distance > reach) continue;
    best = &coin;
    reach = distance;
  }
  return best;
}

// How far the camera has moved since the reference: most coins say the same.
cv::Point2d shift_of(const std::vector<Coin>& reference, const std::vector<Coin>& found, double reach) {
  std::vector<double> x;
  std::vector<double> y;
  for (const Coin& coin : reference) {
    if (const Coin* there = nearest(found, coin.centre(), reach)) {
      x.push_back(there->centre().x - coin.centre().x);
      y.push_back(there->centre().y - coin.centre().y);
    }
  }
  if (x.empty()) return {};
  return {middle(std::move(x)), middle(std::move(y))};
}

struct Judgement {
  std::vector<steps::Rect> missing, foreign, damaged;

  std::vector<steps::Rect> all() const {
    std::vector<steps::Rect> rects = missing;
    rects.insert(rects.end(), foreign.begin(), foreign.end());
    rects.insert(rects.end(), damaged.begin(), damaged.end());
    return rects;
  }
};

Judgement compare(const cv::Mat& picture, const std::vector<Coin>& reference, const std::vector<Coin>& found,
                  double reach) {
  Judgement judgement;
  const cv::Point2d shift = shift_of(reference, found, 2 * reach);
  std::vector<const Coin*> known;
  for (const Coin& coin : reference) {
    const Coin* there = nearest(found, coin.centre() + shift, reach);
    if (there == nullptr) {
      judgement.missing.push_back(rect_of(coin, "missing"));
      continue;
    }
    known.push_back(there);
    const double share = there->area / coin.area;
    const double alike = coins::likeness(coin, picture, shift);
    if (share < damaged_share || share > 1 / damaged_share || alike < damaged_likeness) {
      const bool is_other = alike < foreign_likeness && share >= foreign_share;
      (is_other ? judgement.foreign : judgement.damaged).push_back(rect_of(*there, is_other ? "foreign" : "damaged"));
    }
  }
  for (const Coin& coin : found) {
    if (std::ranges::find(known, &coin) == known.end()) judgement.foreign.push_back(rect_of(coin, "foreign"));
  }
  return judgement;
}

// Draws what was found into a copy of the picture, in the session's folder; the file, to be handed out.
JsonObject annotate(const cv::Mat& picture, const std::vector<steps::Rect>& defects) {
  cv::Mat shown;
  cv::cvtColor(picture, shown, cv::COLOR_GRAY2BGR);
  const cv::Scalar red(0, 0, 255);
  for (const steps::Rect& rect : defects) {
    const cv::Rect place(static_cast<int>(rect.x), static_cast<int>(rect.y), static_cast<int>(rect.width),
                         static_cast<int>(rect.height));
    cv::rectangle(shown, place, red, 2);
    cv::putText(shown, rect.label, {place.x, place.y - 4}, cv::FONT_HERSHEY_PLAIN, 0.8, red);
  }
  if (!cv::imwrite("annotated.png", shown)) {
    throw steps::StepError(steps::StepCode::algorithm_failed, "annotated.png cannot be written");
  }
  return {{"file", {{"path", "annotated.png"}, {"content_type", "image/png"}}}};
}

steps::Result judge(const cv::Mat& picture, double reach, Session& session) {
  std::vector<Coin> reference;
  for (const Json& coin : needed(session, "coins").as_array()) reference.push_back(Coin::from_json(coin.as_object()));
  const std::vector<Coin> found =
      coins::find(picture, needed(session, "threshold").as_double(), needed(session, "least_area").as_double());
  const Judgement judgement = compare(picture, reference, found, reach);
  std::vector<steps::Rect> defects = judgement.all();
  JsonObject data{{"count", found.size()}, {"annotated", annotate(picture, defects)}};
  if (defects.empty()) return steps::Result::good(std::move(data));
  const std::string reason = fmt::format("{} missing, {} foreign, {} damaged", judgement.missing.size(),
                                         judgement.foreign.size(), judgement.damaged.size());
  if (defects.size() > steps::most_defects) defects.resize(steps::most_defects);
  return steps::Result::not_good(reason, defects, std::move(data));
}

}  // namespace

steps::Info CoinInspection::get_info() const {
  using Type = steps::ParameterType;
  return {
      .name = "coin-inspection",
      .version = "1.0.0",
      .description = "Compares a tray of coins with a reference photograph.",
      .steps = {{.name = "calibrate"},
                {.name = "locate", .params = {{.key = "expected", .type = Type::integer, .fallback = 24, .min = 1}}},
                {.name = "judge",
                 .params = {{.key = "reach_px",
                             .type = Type::real,
                             .fallback = 12.0,
                             .min = 1,
                             .max = 100,
                             .description = "how far a coin may lie from its place"}}}},
      .resumable = true};
}

steps::Result CoinInspection::execute(const steps::Shot& shot, Session& session) {
  const cv::Mat picture = picture_of(shot);
  switch (shot.step_index) {
    case 1:
      return calibrate(picture, session);
    case 2:
      return locate(picture, shot.user_params.at("expected").as_int64(), session);
    default:
      return judge(picture, shot.user_params.at("reach_px").as_double(), session);
  }
}
