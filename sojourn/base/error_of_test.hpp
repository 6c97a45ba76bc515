#pragma once

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn {

// The error that `act` fails with; a test failure where it does not.
template <class F>
Error error_of(F act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::internal_error, "nothing was thrown");
}

}  // namespace sojourn
