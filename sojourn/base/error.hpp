#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/json.hpp"

// Failure is an Error: a code that callers act on, a sentence for people, details for machines.
namespace sojourn {

enum class ErrorCode {
#define SOJOURN_ERROR(name, wire, status, retryable, advice) name,
#include "sojourn/base/error_codes.def"
#undef SOJOURN_ERROR
};

// What the registry says of a code.
struct ErrorInfo {
  std::string_view name;  // also in C++: ErrorCode::NAME
  std::string_view wire;  // the word in JSON
  int http_status;
  bool retryable;           // whether the same request may succeed later
  std::string_view advice;  // what the caller should do
};

const ErrorInfo& info(ErrorCode code);

// The code whose word on the wire is `wire`, if there is one.
std::optional<ErrorCode> error_code_from_wire(std::string_view wire);

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, JsonObject details = {});

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const JsonObject& details() const noexcept { return details_; }
  bool retryable() const noexcept { return retryable_; }
  const char* what() const noexcept override { return message_.c_str(); }

  // Overrides the registry's word on whether a retry can help; an app may know better.
  Error& set_retryable(bool retryable);

  // {"code", "message", "retryable", "details"}; details only where there are some.
  JsonObject to_json() const;

  // Reads what to_json wrote. An unknown code becomes app_error and is kept in details["code"].
  static Error from_json(const JsonObject& json);

 private:
  ErrorCode code_;
  std::string message_;
  JsonObject details_;
  bool retryable_;
};

// The Error that `error` is; cancelled for a coroutine that was asked to stop, and for any other exception an
// internal_error with its text.
Error to_error(std::exception_ptr error);

// Whether `error_number` says that the machine is short of descriptors or processes, which passes.
bool is_shortage(int error_number);

// An io_error "WHAT: reason of ERRNO", with the errno in details; unavailable for a shortage.
Error io_error(std::string_view what, int error_number);

}  // namespace sojourn
