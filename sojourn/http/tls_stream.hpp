#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <string>

#include "sojourn/http/tls.hpp"

// TLS as Asio has it. Private to this room.
namespace sojourn::http {

struct TlsTrust::Context {
  Context();

  boost::asio::ssl::context asio;
};

using TlsStream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>;

// A stream on `socket` that expects a certificate for `host`, a name or an address, and leaves in `refusal` what is
// wrong with another. Lifetime: `refusal` outlives it.
std::unique_ptr<TlsStream> make_tls_stream(boost::asio::ip::tcp::socket& socket, const TlsTrust& trust,
                                           const std::string& host, std::string& refusal);

}  // namespace sojourn::http
