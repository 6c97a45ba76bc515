#include "sojourn/http/tls.hpp"

#include <boost/asio/ssl/host_name_verification.hpp>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/http/tls_stream.hpp"

namespace sojourn::http {

namespace ssl = boost::asio::ssl;

TlsTrust::Context::Context() : asio(ssl::context::tls_client) {
  boost::system::error_code error;
  asio.set_default_verify_paths(error);
  if (error) throw Error(ErrorCode::io_error, "the certificates that this machine trusts: " + error.message());
  asio.set_verify_mode(ssl::verify_peer);
  SSL_CTX_set_min_proto_version(asio.native_handle(), TLS1_2_VERSION);
}

TlsTrust::TlsTrust() : context_(std::make_unique<Context>()) {}
TlsTrust::~TlsTrust() = default;

std::unique_ptr<TlsStream> make_tls_stream(boost::asio::ip::tcp::socket& socket, const TlsTrust& trust,
                                           const std::string& host) {
  auto stream = std::make_unique<TlsStream>(socket, trust.context().asio);
  stream->set_verify_callback(ssl::host_name_verification(host));
  boost::system::error_code not_an_address;
  boost::asio::ip::make_address(host, not_an_address);
  // A name is told to the server, which may have several; an address is not (RFC 6066).
  if (not_an_address && SSL_set_tlsext_host_name(stream->native_handle(), host.c_str()) != 1) {
    throw Error(ErrorCode::internal_error, "TLS does not take the name of a server");
  }
  return stream;
}

}  // namespace sojourn::http
