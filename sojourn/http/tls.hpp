#pragma once

#include <filesystem>
#include <memory>

namespace sojourn::http {

// Whom a client of https trusts. Threads: safe once it is made.
class TlsTrust {
 public:
  // The authorities that this machine trusts, or those of SSL_CERT_FILE and SSL_CERT_DIR.
  // Cost: reading them blocks for some 10 ms. Errors: io_error.
  TlsTrust();

  // Those of `authorities`, a PEM file, and no others. Errors: io_error, naming the file.
  explicit TlsTrust(const std::filesystem::path& authorities);
  ~TlsTrust();
  TlsTrust(const TlsTrust&) = delete;
  TlsTrust& operator=(const TlsTrust&) = delete;

  struct Context;
  Context& context() const { return *context_; }

 private:
  std::unique_ptr<Context> context_;
};

}  // namespace sojourn::http
