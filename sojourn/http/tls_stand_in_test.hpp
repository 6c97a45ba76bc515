#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"

// Certificates, and TLS in front of a server that speaks none, for tests.
namespace sojourn::http {

template <auto release>
struct Releases {
  template <class T>
  void operator()(T* held) const {
    release(held);
  }
};
template <class T, auto release>
using Owned = std::unique_ptr<T, Releases<release>>;

// A key and its certificate: of an authority that signed it itself, or of a server, signed by an authority.
class Certificate {
 public:
  explicit Certificate(const char* name) : Certificate(name, "CA:TRUE", NID_basic_constraints, nullptr) {}

  // `hosts` as in "DNS:localhost, IP:127.0.0.1".
  Certificate(const char* name, const char* hosts, const Certificate& issuer)
      : Certificate(name, hosts, NID_subject_alt_name, &issuer) {}

  void write(const std::string& path) const {
    const Owned<std::FILE, std::fclose> file(std::fopen(path.c_str(), "we"));
    PEM_write_X509(file.get(), certificate.get());
  }

  Owned<EVP_PKEY, EVP_PKEY_free> key;
  Owned<X509, X509_free> certificate;

 private:
  Certificate(const char* name, const char* extension, int extension_id, const Certificate* issuer)
      : key(EVP_EC_gen("P-256")), certificate(X509_new()) {
    X509* const made = certificate.get();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), issuer == nullptr ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(made), -3'600);
    X509_gmtime_adj(X509_getm_notAfter(made), 24 * 3'600);
    X509_set_pubkey(made, key.get());
    X509_NAME* const subject = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    const Certificate& signer = issuer == nullptr ? *this : *issuer;
    X509_set_issuer_name(made, X509_get_subject_name(signer.certificate.get()));
    const Owned<X509_EXTENSION, X509_EXTENSION_free> more(
        X509V3_EXT_conf_nid(nullptr, nullptr, extension_id, extension));
    X509_add_ext(made, more.get(), -1);
    X509_sign(made, signer.key.get(), EVP_sha256());
  }
};

// Takes TLS off, and passes on what it holds to `target`, a port of this machine, and back.
class TlsProxy {
 public:
  TlsProxy(Loop& loop, const Certificate& server, std::uint16_t target)
      : context_(boost::asio::ssl::context::tls_server),
        acceptor_(loop.executor(), {boost::asio::ip::address_v4::loopback(), 0}),
        target_(boost::asio::ip::address_v4::loopback(), target) {
    SSL_CTX_use_certificate(context_.native_handle(), server.certificate.get());
    SSL_CTX_use_PrivateKey(context_.native_handle(), server.key.get());
  }

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  Async<void> serve(TaskGroup& group) {
    while (true) {
      boost::system::error_code error;
      Tcp::socket socket =
          co_await acceptor_.async_accept(boost::asio::redirect_error(boost::asio::use_awaitable, error));
      if (error) co_return;
      ++connections;
      group.spawn(pass_on(group, std::make_shared<Connection>(std::move(socket), context_)));
    }
  }
  void close() { acceptor_.close(); }

  int connections = 0;
  int accepted = 0;  // connections whose client took the certificate

 private:
  using Tcp = boost::asio::ip::tcp;

  struct Connection {
    Connection(Tcp::socket from, boost::asio::ssl::context& context)
        : client(std::move(from)), tls(client, context), server(client.get_executor()) {}

    Tcp::socket client;
    boost::asio::ssl::stream<Tcp::socket&> tls;
    Tcp::socket server;
  };

  Async<void> pass_on(TaskGroup& group, std::shared_ptr<Connection> between) {
    const auto token = [](auto& error) { return boost::asio::redirect_error(boost::asio::use_awaitable, error); };
    boost::system::error_code error;
    co_await between->tls.async_handshake(boost::asio::ssl::stream_base::server, token(error));
    if (!error) co_await between->server.async_connect(target_, token(error));
    if (error) co_return;
    ++accepted;
    group.spawn(pump(between, between->tls, between->server));
    group.spawn(pump(between, between->server, between->tls));
  }

  // The end of one side is the end of both.
  template <class From, class To>
  static Async<void> pump(std::shared_ptr<Connection> between, From& from, To& to) {
    std::array<char, 16 * 1024> bytes{};
    boost::system::error_code error;
    while (!error) {
      const std::size_t count = co_await from.async_read_some(
          boost::asio::buffer(bytes), boost::asio::redirect_error(boost::asio::use_awaitable, error));
      if (error) break;
      co_await boost::asio::async_write(to, boost::asio::buffer(bytes, count),
                                        boost::asio::redirect_error(boost::asio::use_awaitable, error));
    }
    boost::system::error_code ignored;
    between->client.close(ignored);
    between->server.close(ignored);
  }

  boost::asio::ssl::context context_;
  Tcp::acceptor acceptor_;
  Tcp::endpoint target_;
};

}  // namespace sojourn::http
