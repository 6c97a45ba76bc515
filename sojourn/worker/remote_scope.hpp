#pragma once

#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/event.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/frame_stream.hpp"
#include "sojourn/worker/frames_to_server.hpp"

namespace sojourn::worker {

// What fails whoever waits for a server that is gone.
std::exception_ptr disconnected();

// What a call may do that runs here for a server elsewhere: whatever it asks for becomes a frame.
// Threads: one executor.
class RemoteScope final : public session::CallScope {
 public:
  RemoteScope(session::CallRequest request, session::Session& session, FrameStream& stream)
      : request_(std::move(request)), session_(session), stream_(stream) {}

  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }

  void emit(Json partial_output) override { send(progress_frame(request_.task_id, "output", partial_output)); }
  void emit_delta(Json delta) override { send(progress_frame(request_.task_id, "delta", delta)); }
  void log(LogLevel level, std::string_view message, JsonObject fields) override {
    send(log_frame(request_.task_id, level, message, fields));
  }
  void record(std::string type, JsonObject data) override;
  Async<void> checkpoint() override;
  void end_session() override { ends_session_ = true; }
  Async<Json> call_app(std::string app, std::string function, Json input) override;
  bool cancel_requested() const override { return cancel_requested_; }
  Async<void> cancel_wait() override;

  // What the server says to the call. Errors: protocol_error for an answer to nothing.
  void cancel();
  void take_saved(Frame& frame);
  void take_app_result(Frame& frame);

  // The server is gone: whoever waits for it fails.
  void disconnect();

  // The frame that answers the call. Errors: too_large or not_serializable for the output.
  std::string result(const Json& output) const;

 private:
  void send(std::string frame);
  CallChanges changes() const { return {session_.state().changes(), events_}; }

  session::CallRequest request_;
  session::Session& session_;
  FrameStream& stream_;
  std::vector<std::pair<std::string, JsonObject>> events_;  // since the last checkpoint
  bool ends_session_ = false;
  bool cancel_requested_ = false;
  Event cancelled_;
  std::shared_ptr<Completion<bool>> saved_;                             // shared with the checkpoint that waits
  std::map<std::string, std::shared_ptr<Completion<Json>>> app_calls_;  // likewise with the app calls
  std::uint64_t last_call_id_ = 0;
};

}  // namespace sojourn::worker
