#include "sojourn/steps/library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

namespace {

[[noreturn]] void refuse(std::string_view reason) {
  throw StepError(StepCode::setup_failed, fmt::format("the library cannot be used: {}", reason));
}

std::string last_problem() {
  const char* said = ::dlerror();
  return said == nullptr ? "for no reason that is told" : said;
}

std::string to_text(const LibraryAbi& abi) {
  return fmt::format("version {}, libstdc++ {}, Boost 1.{}, sizes {} and {}", abi.version, abi.standard_library,
                     abi.boost % 1000, abi.algorithm_bytes, abi.session_bytes);
}

}  // namespace

AlgorithmFactory load_algorithm(const std::string& path) {
  // With a slash, so that it is this file and none of that name that lies where libraries do.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  // All symbols at once: what is missing shows here, and not in the middle of a detection.
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) refuse(last_problem());
  const auto* entry = static_cast<const LibraryEntry*>(::dlsym(library, library_symbol));
  if (entry == nullptr || entry->abi.mark != LibraryAbi().mark) {
    refuse(fmt::format("it exports no {}; SOJOURN_ALGORITHM(CLASS) in one of its sources does", library_symbol));
  }
  if (entry->abi != LibraryAbi()) {
    refuse(fmt::format("it was compiled for another Sojourn ({}) than this ({}); compile it anew",
                       to_text(entry->abi), to_text(LibraryAbi())));
  }
  return [entry] { return std::unique_ptr<Algorithm>(entry->make()); };
}

}  // namespace sojourn::steps
