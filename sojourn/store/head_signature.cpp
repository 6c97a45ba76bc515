#include "sojourn/store/head_signature.hpp"

#include <fmt/format.h>

namespace sojourn::store {

namespace {

constexpr std::size_t key_digits = 16;

std::string signed_text(std::string_view session_id, const ChainHead& head) {
  return fmt::format("sojourn head 1\n{}\n{}\n{}\n", session_id, head.seq, to_hex(head.hash));
}

}  // namespace

std::string sign_head(const SigningKey& key, std::string_view session_id, const ChainHead& head) {
  return fmt::format("{}:{}", key.public_key().id(), key.sign(signed_text(session_id, head)));
}

bool holds(std::string_view signature, const PublicKey& key, std::string_view session_id, const ChainHead& head) {
  return key_of(signature) == key.id() &&
         key.verifies(signed_text(session_id, head), signature.substr(key_digits + 1));
}

std::string_view key_of(std::string_view signature) {
  const bool named = signature.size() > key_digits && signature[key_digits] == ':';
  return named ? signature.substr(0, key_digits) : std::string_view();
}

}  // namespace sojourn::store
