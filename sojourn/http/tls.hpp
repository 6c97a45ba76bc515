#pragma once

#include <memory>

namespace sojourn::http {

// Whom a client of https trusts: the authorities that this machine trusts, or those of SSL_CERT_FILE and
// SSL_CERT_DIR. Threads: safe once it is made. Cost: reading them blocks for some 10 ms.
class TlsTrust {
 public:
  // Errors: io_error.
  TlsTrust();
  ~TlsTrust();
  TlsTrust(const TlsTrust&) = delete;
  TlsTrust& operator=(const TlsTrust&) = delete;

  struct Context;
  Context& context() const { return *context_; }

 private:
  std::unique_ptr<Context> context_;
};

}  // namespace sojourn::http
