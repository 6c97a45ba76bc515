#pragma once

#include <boost/asio/ip/address.hpp>

namespace sojourn::http {

// Whether an address belongs to the public Internet: not to this machine, its link or a private network, and not to
// a block that stands for one of those or for nobody.
// Source: IANA's special-purpose address registries (RFC 6890).
bool is_public(const boost::asio::ip::address& address);

}  // namespace sojourn::http
