#include "sojourn/base/error.hpp"

#include <array>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sojourn {

namespace {

constexpr std::array error_table{
#define SOJOURN_ERROR(name, wire, status, retryable, advice) ErrorInfo{#name, wire, status, retryable, advice},
#include "sojourn/base/error_codes.def"
#undef SOJOURN_ERROR
};

std::string text_at(const JsonObject& json, std::string_view key) {
  const Json* value = json.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

const ErrorInfo& info(ErrorCode code) {
  return error_table.at(static_cast<std::size_t>(code));
}

std::optional<ErrorCode> error_code_from_wire(std::string_view wire) {
  for (std::size_t i = 0; i < error_table.size(); ++i) {
    if (error_table[i].wire == wire) return static_cast<ErrorCode>(i);
  }
  return std::nullopt;
}

Error::Error(ErrorCode code, std::string message, JsonObject details)
    : code_(code), message_(std::move(message)), details_(std::move(details)), retryable_(info(code).retryable) {}

Error& Error::set_retryable(bool retryable) {
  retryable_ = retryable;
  return *this;
}

JsonObject Error::to_json() const {
  JsonObject json{{"code", info(code_).wire}, {"message", to_valid_utf8(message_)}, {"retryable", retryable_}};
  if (!details_.empty()) json["details"] = details_;
  return json;
}

Error Error::from_json(const JsonObject& json) {
  const std::string wire = text_at(json, "code");
  const std::optional<ErrorCode> code = error_code_from_wire(wire);
  JsonObject details;
  if (const Json* given = json.if_contains("details"); given != nullptr && given->is_object()) {
    details = given->get_object();
  }
  if (!code && !wire.empty()) details["code"] = wire;
  Error error(code.value_or(ErrorCode::app_error), text_at(json, "message"), std::move(details));
  if (const Json* retryable = json.if_contains("retryable"); retryable != nullptr && retryable->is_bool()) {
    error.set_retryable(retryable->get_bool());
  }
  return error;
}

Error to_error(std::exception_ptr error) {
  try {
    std::rethrow_exception(std::move(error));
  } catch (const Error& known) {
    return known;
  } catch (const boost::system::system_error& system) {
    if (system.code() == boost::asio::error::operation_aborted) {
      return Error(ErrorCode::cancelled, "it was asked to stop before it was done");
    }
    return Error(ErrorCode::internal_error, system.what());
  } catch (const std::exception& other) {
    return Error(ErrorCode::internal_error, other.what());
  } catch (...) {
    return Error(ErrorCode::internal_error, "an exception of an unknown type");
  }
}

bool is_shortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == EAGAIN;
}

Error io_error(std::string_view what, int error_number) {
  return Error(is_shortage(error_number) ? ErrorCode::unavailable : ErrorCode::io_error,
               std::string(what) + ": " + std::strerror(error_number), {{"errno", error_number}});
}

}  // namespace sojourn
