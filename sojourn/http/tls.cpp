#include "sojourn/http/tls.hpp"

#include <fmt/format.h>
#include <openssl/x509v3.h>

#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/http/tls_stream.hpp"

namespace sojourn::http {

namespace ssl = boost::asio::ssl;

namespace {

std::string name_of(const X509_NAME* name) {
  char text[256];
  return X509_NAME_oneline(name, text, sizeof text);
}

// The names and addresses that a certificate is for.
std::string hosts_of(const X509* certificate) {
  X509_EXTENSION* const names = X509_get_ext(certificate, X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1));
  if (names == nullptr) return name_of(X509_get_subject_name(certificate));
  BIO* const text = BIO_new(BIO_s_mem());
  X509V3_EXT_print(text, names, 0, 0);
  const char* start = nullptr;
  const long length = BIO_get_mem_data(text, &start);
  std::string hosts(start, static_cast<std::size_t>(length));
  BIO_free(text);
  return hosts;
}

std::string why_refused(X509_STORE_CTX* chain, const std::string& host) {
  const int error = X509_STORE_CTX_get_error(chain);
  const X509* const certificate = X509_STORE_CTX_get_current_cert(chain);
  std::string why = X509_verify_cert_error_string(error);
  if (certificate == nullptr) return why;
  if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    why = fmt::format("it is not for {}, but for {}", host, hosts_of(certificate));
  } else {
    why += fmt::format(" (subject {}, issuer {})", name_of(X509_get_subject_name(certificate)),
                       name_of(X509_get_issuer_name(certificate)));
  }
  return to_valid_utf8(why);
}

void expect_host(SSL* connection, const std::string& host) {
  X509_VERIFY_PARAM* const rules = SSL_get0_param(connection);
  boost::system::error_code not_an_address;
  boost::asio::ip::make_address(host, not_an_address);
  const bool is_set = not_an_address
                          // A name is told to the server, which may have several; an address is not (RFC 6066).
                          ? SSL_set_tlsext_host_name(connection, host.c_str()) == 1 &&
                                X509_VERIFY_PARAM_set1_host(rules, host.c_str(), host.size()) == 1
                          : X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str()) == 1;
  if (!is_set) throw Error(ErrorCode::internal_error, "TLS does not take the name of a server");
}

}  // namespace

TlsTrust::Context::Context() : asio(ssl::context::tls_client) {
  asio.set_verify_mode(ssl::verify_peer);
  SSL_CTX_set_min_proto_version(asio.native_handle(), TLS1_2_VERSION);
}

TlsTrust::TlsTrust() : context_(std::make_unique<Context>()) {
  boost::system::error_code error;
  context_->asio.set_default_verify_paths(error);
  if (error) throw Error(ErrorCode::io_error, "the certificates that this machine trusts: " + error.message());
}

TlsTrust::TlsTrust(const std::filesystem::path& authorities) : context_(std::make_unique<Context>()) {
  boost::system::error_code error;
  context_->asio.load_verify_file(authorities.string(), error);
  if (error) throw Error(ErrorCode::io_error, "the certificates of " + authorities.string() + ": " + error.message());
}

TlsTrust::~TlsTrust() = default;

std::unique_ptr<TlsStream> make_tls_stream(boost::asio::ip::tcp::socket& socket, const TlsTrust& trust,
                                           const std::string& host, std::string& refusal) {
  auto stream = std::make_unique<TlsStream>(socket, trust.context().asio);
  stream->set_verify_callback([host, &refusal](bool is_good, ssl::verify_context& chain) {
    if (!is_good) refusal = why_refused(chain.native_handle(), host);
    return is_good;
  });
  expect_host(stream->native_handle(), host);
  return stream;
}

}  // namespace sojourn::http
