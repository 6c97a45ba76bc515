#pragma once

#include "sojourn/steps/algorithm.hpp"

// Is a product as bright as the reference? Step 1 keeps what it found on the reference picture in the session, step 2
// judges the product's picture by it.
class NewAlgorithm final : public sojourn::steps::Algorithm {
 public:
  sojourn::steps::Info get_info() const override;
  sojourn::steps::Result execute(const sojourn::steps::Shot& shot, sojourn::session::Session& session) override;
};
