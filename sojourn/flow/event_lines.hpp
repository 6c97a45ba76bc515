#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "sojourn/base/json.hpp"
#include "sojourn/flow/message.hpp"
#include "sojourn/flow/uuid.hpp"

// A flow session's events as they come, one JSON object a line, in Railtracks's shape: docs/formats/saved-flow.md.
namespace sojourn::flow {

class EventLines {
 public:
  // Appends to UUID.jsonl in `folder`, which is made if it is missing. Errors: io_error, store_read_only, store_full.
  EventLines(const std::filesystem::path& folder, Uuid uuid);
  ~EventLines();
  EventLines(const EventLines&) = delete;
  EventLines& operator=(const EventLines&) = delete;

  // Not at the same time as itself or the next. Errors: io_error; lines that were not written
  // whole are lost.
  void started(Time now, const JsonObject& payload);
  void completed(Time now, const JsonObject& payload);
  void write(std::span<const std::shared_ptr<const Message>> messages);

  const std::filesystem::path& file() const { return path_; }

 private:
  void append(std::string& out, std::string_view type, Time time, std::optional<CallId> container,
              std::optional<CallId> emitter, std::string_view fields);
  void append(std::string& out, const Message& message);
  void put(const std::string& lines);
  void take_back(std::size_t written, const std::string& lines);

  std::filesystem::path path_;
  const Uuid uuid_;
  const std::string id_;
  int file_;
  std::uint64_t events_ = 0;
};

}  // namespace sojourn::flow
