#pragma once

#include <boost/version.hpp>
#include <cstdint>
#include <string>

#include "sojourn/steps/algorithm.hpp"

// An algorithm in a shared library, which the program sojourn-algorithm serves.
//
// One of the library's sources says SOJOURN_ALGORITHM(CoinInspection); it is compiled with Sojourn's headers and
// links none of its libraries, for it finds them in the program. Both must have been compiled alike: what can be told
// of that stands in the library, and is compared before any of its functions is called. Its static constructors have
// run by then.
namespace sojourn::steps {

struct LibraryAbi {
  std::uint32_t mark = 0x534A4E41;
  std::uint32_t version = 1;  // of what a library and the program share: Algorithm, Shot, Session and theirs
  std::uint32_t standard_library = _GLIBCXX_RELEASE;
  std::uint32_t boost = BOOST_VERSION / 100;
  std::uint32_t algorithm_bytes =
      sizeof(Algorithm) + sizeof(Shot) + sizeof(Result) + sizeof(Info) + sizeof(Parameter);
  std::uint32_t session_bytes = sizeof(session::Session);

  bool operator==(const LibraryAbi&) const = default;
};

struct LibraryEntry {
  LibraryAbi abi;
  Algorithm* (*make)();  // the caller's to delete
};

inline constexpr const char* library_symbol = "sojourn_algorithm";

// Loads the library, which stays until the process ends.
// Errors: StepError setup_failed, which says what is wrong: no such file, no library, a symbol that it misses, no
//         algorithm in it, or one that was compiled for another Sojourn.
// Threads: safe.
AlgorithmFactory load_algorithm(const std::string& path);

}  // namespace sojourn::steps

#define SOJOURN_ALGORITHM(TYPE)                                                                              \
  extern "C" __attribute__((visibility("default"))) const ::sojourn::steps::LibraryEntry sojourn_algorithm { \
    {}, []() -> ::sojourn::steps::Algorithm* { return ::sojourn::steps::make_algorithm<TYPE>().release(); }  \
  }
