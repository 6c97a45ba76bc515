#pragma once

#include "sojourn/steps/algorithm.hpp"

// Inspects a tray of coins in three steps: calibrate and locate on a reference photograph, then judge each production
// picture by what those two left in the session.
class CoinInspection final : public sojourn::steps::Algorithm {
 public:
  sojourn::steps::Info get_info() const override;
  sojourn::steps::Result execute(const sojourn::steps::Shot& shot, sojourn::session::Session& session) override;
};
