#pragma once

#include <map>
#include <string>
#include <string_view>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/store/record.hpp"

// Proof of where a journal ends. The chain shows every change but one: that its newest events, and what the session's
// row knows of them, are gone. So the server signs the head of a session that is over.
//
// Shape: KEY:SIGNATURE, where KEY is the id of the key (base/ed25519.hpp) that made the signature over
//        "sojourn head 1\n" + session id + "\n" + number of events + "\n" + last hash in hex + "\n".
namespace sojourn::store {

std::string sign_head(const SigningKey& key, std::string_view session_id, const ChainHead& head);

// Keys that are known, by their ids. A signature names the one that made it.
using PublicKeys = std::map<std::string, PublicKey, std::less<>>;

// Whether `key` made this signature over this head. False also for what is no signature.
bool holds(std::string_view signature, const PublicKey& key, std::string_view session_id, const ChainHead& head);

// The id of the key that a signature names; "" for what is none.
std::string_view key_of(std::string_view signature);

}  // namespace sojourn::store
