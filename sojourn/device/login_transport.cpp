#include "sojourn/device/login_transport.hpp"

#include <fmt/format.h>

#include <initializer_list>
#include <optional>
#include <random>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/signature.hpp"
#include "sojourn/device/socket_transport.hpp"
#include "sojourn/device/wire_coding.hpp"

namespace sojourn::device {

namespace {

constexpr std::size_t greeting_bytes = 4096;  // that a board may say before it asks

// A TCP connection whose bytes are coded, and which begins with questions.
class LoginTransport : public Transport {
 public:
  LoginTransport(Executor executor, Clock& clock, TcpAddress address)
      : executor_(executor),
        clock_(clock),
        wire_(make_tcp_transport(std::move(executor), clock, std::move(address))) {}

  Async<void> open(Instant deadline) final {
    close();
    said_.clear();
    bool late = false;
    co_await wire_->open(deadline);
    const auto alarm = clock_.set_alarm(deadline, executor_, [&] {
      late = true;
      wire_->close();
    });
    std::optional<Error> failure;
    try {
      co_await log_in();
    } catch (const Error& error) {
      failure = error;
    }
    if (!failure) co_return;
    close();
    if (late) throw Error(ErrorCode::call_timeout, "the board did not finish its login in time");
    throw *failure;
  }

  Async<std::string> receive() final {
    while (said_.empty()) co_await hear();
    co_return std::exchange(said_, {});
  }

  void send(std::string_view bytes) final {
    if (coding_ != nullptr) wire_->send(coding_->encode(bytes));
  }

  void close() final {
    wire_->close();
    coding_.reset();
  }

 protected:
  virtual Async<void> log_in() = 0;

  void code_with(std::unique_ptr<WireCoding> coding) { coding_ = std::move(coding); }
  Transport& wire() { return *wire_; }
  std::string& said() { return said_; }

  // More of what the board says, at the end of said().
  Async<void> hear() {
    const std::string bytes = co_await wire_->receive();
    if (coding_ == nullptr) {
      said_ += bytes;
      co_return;
    }
    std::string answer;
    said_ += coding_->decode(bytes, answer);
    if (!answer.empty()) wire_->send(answer);
  }

  // Which of `words` the board says first, which is then taken away with what came before.
  Async<std::size_t> hear_one_of(std::initializer_list<std::string_view> words) {
    for (;;) {
      std::size_t index = 0;
      for (const std::string_view word : words) {
        if (const std::size_t at = said_.find(word); at != said_.npos) {
          said_.erase(0, at + word.size());
          co_return index;
        }
        ++index;
      }
      if (said_.size() > greeting_bytes) {
        throw Error(ErrorCode::connection_failed, "what listens there does not ask for a login as a board does");
      }
      co_await hear();
    }
  }

 private:
  Executor executor_;
  Clock& clock_;
  std::unique_ptr<Transport> wire_;
  std::unique_ptr<WireCoding> coding_;
  std::string said_;  // decoded, and not read yet
};

Error refused() {
  return Error(ErrorCode::forbidden, "the board refused the login; check the user and password in its address");
}

class TelnetTransport final : public LoginTransport {
 public:
  TelnetTransport(Executor executor, Clock& clock, TelnetAddress address)
      : LoginTransport(std::move(executor), clock, {address.host, address.port}), address_(std::move(address)) {}

 private:
  Async<void> log_in() override {
    code_with(std::make_unique<TelnetCoding>());
    if (address_.user.empty()) co_return;
    co_await hear_one_of({"ogin as:", "ogin:"});
    send(address_.user + "\r\n");
    co_await hear_one_of({"assword:"});
    send(address_.password + "\r\n");
    if (co_await hear_one_of({"ogin succeeded", "nvalid credentials", "ogin incorrect"}) != 0) throw refused();
  }

  TelnetAddress address_;
};

class WebReplTransport final : public LoginTransport {
 public:
  WebReplTransport(Executor executor, Clock& clock, WebReplAddress address)
      : LoginTransport(std::move(executor), clock, {address.host, address.port}), address_(std::move(address)) {}

 private:
  Async<void> log_in() override {
    constexpr std::string_view head_end = "\r\n\r\n";
    std::random_device chance;
    std::string nonce;
    for (int i = 0; i < 16; ++i) nonce += static_cast<char>(chance());
    const std::string key = to_base64(nonce);
    wire().send(web_socket_request(fmt::format("{}:{}", address_.host, address_.port), key));
    std::size_t end = 0;
    while ((end = said().find(head_end)) == std::string::npos) {
      if (said().size() > greeting_bytes) check_web_socket_answer({}, key);
      co_await hear();
    }
    check_web_socket_answer(said().substr(0, end), key);
    auto coding = std::make_unique<WebSocketCoding>();
    std::string answer;
    said() = coding->decode(said().substr(end + head_end.size()), answer);
    if (!answer.empty()) wire().send(answer);
    code_with(std::move(coding));
    co_await hear_one_of({"assword:"});
    send(address_.password + "\r\n");
    if (co_await hear_one_of({"WebREPL connected", "ccess denied"}) != 0) throw refused();
  }

  WebReplAddress address_;
};

}  // namespace

std::unique_ptr<Transport> make_telnet_transport(Executor executor, Clock& clock, TelnetAddress address) {
  return std::make_unique<TelnetTransport>(std::move(executor), clock, std::move(address));
}

std::unique_ptr<Transport> make_webrepl_transport(Executor executor, Clock& clock, WebReplAddress address) {
  return std::make_unique<WebReplTransport>(std::move(executor), clock, std::move(address));
}

}  // namespace sojourn::device
