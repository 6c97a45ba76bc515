#pragma once

#include <string>
#include <vector>

#include "sojourn/runtime/serving.hpp"

namespace sojourn::runtime {

// What a running call may do, as the runtime grants it.
class Serving::Scope final : public session::CallScope {
 public:
  Scope(Serving& serving, std::shared_ptr<LiveCall> call, session::CallRequest request);

  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return serving_.kept_.session(); }
  void emit(Json partial_output) override;
  void emit_delta(Json delta) override;
  void log(LogLevel level, std::string_view message, JsonObject fields) override;
  void record(std::string type, JsonObject data) override;
  Async<void> checkpoint() override;
  void end_session() override { ends_session_ = true; }
  Async<Json> call_app(std::string app, std::string function, Json input) override;
  bool cancel_requested() const override { return call_->cancel_requested(); }
  Async<void> cancel_wait() override;

  bool ends_session() const { return ends_session_; }
  std::vector<session::NewEvent> take_events() { return std::exchange(events_, {}); }

 private:
  Serving& serving_;
  std::shared_ptr<LiveCall> call_;
  session::CallRequest request_;
  std::vector<session::NewEvent> events_;
  std::size_t event_bytes_ = 0;
  bool ends_session_ = false;
};

}  // namespace sojourn::runtime
