#include "sojourn/flow/event_lines.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <tuple>
#include <type_traits>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/store/durable_file.hpp"

namespace sojourn::flow {

namespace {

std::string json_string(std::string_view text) {
  std::string json;
  append_json_string(json, to_valid_utf8(text));
  return json;
}

double seconds_of(Nanoseconds duration) {
  return static_cast<double>(duration.count()) / 1e9;
}

}  // namespace

EventLines::EventLines(const std::filesystem::path& folder, Uuid uuid)
    : path_(folder / (uuid.text() + ".jsonl")), uuid_(uuid), id_(uuid.text()) {
  store::make_folders(folder);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) throw io_error(path_.string(), errno);
}

EventLines::~EventLines() {
  ::close(file_);
}

void EventLines::put(const std::string& lines) {
  const std::size_t written = write_all(file_, lines);
  if (written == lines.size()) return;
  const int problem = errno;
  take_back(written, lines);
  throw io_error(path_.string(), problem);
}

// A line that is there in part only would swallow the next one.
void EventLines::take_back(std::size_t written, const std::string& lines) {
  const std::size_t last_end = written == 0 ? std::string::npos : lines.rfind('\n', written - 1);
  const std::size_t whole = last_end == std::string::npos ? 0 : last_end + 1;
  if (whole == written) return;
  struct stat status{};
  const auto part = static_cast<off_t>(written - whole);
  // Where this fails too, what is thrown of the write says that the file is not as it should be.
  if (::fstat(file_, &status) == 0) std::ignore = ::ftruncate(file_, status.st_size - part);
}

// `container` is the node that what happened lies in; `emitter` the one that tells of itself.
void EventLines::append(std::string& out, std::string_view type, Time time, std::optional<CallId> container,
                        std::optional<CallId> emitter, std::string_view fields) {
  const std::string stamp = format_time(time);
  const auto node_id = [this](std::optional<CallId> call) {
    return call ? '"' + uuid_.of(Uuid::Kind::node, *call) + '"' : "null";
  };
  fmt::format_to(std::back_inserter(out),
                 R"({{"event_type":"{}","scope_type":"session","scope_id":"{}","event_id":"{}","stamp":"{}",)"
                 R"("parent_scope_id":null,"payload":{{"timestamp":"{}","spatial_parent_type":"{}",)"
                 R"("spatial_parent_node_id":{})",
                 type, id_, uuid_.of(Uuid::Kind::event, events_++), stamp, stamp, container ? "node" : "none",
                 node_id(container));
  if (emitter)
    fmt::format_to(std::back_inserter(out), R"(,"parent_type":"node","parent_node_id":{})", node_id(emitter));
  if (!fields.empty()) {
    out += ',';
    out += fields;
  }
  out += "}}\n";
}

void EventLines::started(Time now, const JsonObject& payload) {
  const std::string text = to_text(payload);
  std::string line;
  append(line, "session.started", now, std::nullopt, std::nullopt, std::string_view(text).substr(1, text.size() - 2));
  put(line);
}

void EventLines::completed(Time now, const JsonObject& payload) {
  const std::string text = to_text(payload);
  std::string line;
  append(line, "session.completed", now, std::nullopt, std::nullopt,
         std::string_view(text).substr(1, text.size() - 2));
  put(line);
}

void EventLines::append(std::string& out, const Message& message) {
  const auto destruction = [&](CallId call, std::optional<CallId> caller, const std::string& response,
                               Nanoseconds duration) {
    append(out, "node.destruction", message.time, caller, call,
           fmt::format(R"("response":{},"duration_seconds":{:.9f})", response, seconds_of(duration)));
  };
  if (const auto* creation = std::get_if<RequestCreation>(&message.body)) {
    append(out, "node.creation", message.time, creation->caller, std::nullopt,
           fmt::format(R"("node_id":"{}","name":{},"node_type":{})", uuid_.of(Uuid::Kind::node, creation->call),
                       json_string(creation->node->name), json_string(creation->node->kind)));
    append(out, "node.invocation", message.time, creation->caller, creation->call,
           fmt::format(R"("args":{},"kwargs":{{}})", *creation->input));
  } else if (const auto* success = std::get_if<RequestSuccess>(&message.body)) {
    append(out, "node.response", message.time, success->caller, success->call,
           fmt::format(R"("response":{})", *success->output));
    destruction(success->call, success->caller, *success->output, success->duration);
  } else if (const auto* failure = std::get_if<RequestFailure>(&message.body)) {
    append(out, "node.failure", message.time, failure->caller, failure->call,
           fmt::format(R"("exception_name":{},"exception_message":{})", json_string(failure->failure.type),
                       json_string(failure->failure.message)));
    destruction(failure->call, failure->caller, "null", failure->duration);
  }
}

void EventLines::write(std::span<const std::shared_ptr<const Message>> messages) {
  std::string lines;
  for (const auto& message : messages) append(lines, *message);
  put(lines);
}

}  // namespace sojourn::flow
