#pragma once

#include <cstdio>
#include <cstdlib>

// Ends the program, which the fuzzer reports with the input, unless `fact` holds.
inline void expect(bool fact, const char* what) {
  if (fact) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}
