#pragma once

#include <cstdint>
#include <opencv2/core.hpp>
#include <vector>

#include "sojourn/base/json.hpp"

// Finds the coins in a photograph of bright coins on dark cloth, and tells one from another.
namespace coins {

struct Coin {
  cv::Rect place;           // pixels
  double area = 0;          // of its own pixels
  std::vector<int> look{};  // its grey values within its rim, scaled down to a square

  cv::Point2d centre() const { return {place.x + place.width / 2.0, place.y + place.height / 2.0}; }

  sojourn::JsonObject to_json() const;
  static Coin from_json(const sojourn::JsonObject& json);
};

// `gray` less the cloth: uneven light is taken away, so that one threshold fits all of it.
cv::Mat lifted(const cv::Mat& gray);

// The threshold that parts coins and cloth best (Otsu).
double threshold_of(const cv::Mat& lifted);

// The coins of at least `least_area` pixels, by their place from the top down.
std::vector<Coin> find(const cv::Mat& gray, double threshold, double least_area);

// How much a picture shows `coin`, where it should be: 1 for the same, about 0 for any other.
double likeness(const Coin& coin, const cv::Mat& gray, cv::Point2d shift);

}  // namespace coins
