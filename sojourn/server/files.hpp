#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "sojourn/base/log.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/server/call_files.hpp"
#include "sojourn/server/uploads.hpp"

// All that has to do with files: what keeps them, brings them in and out, and clears away what nobody needs.
namespace sojourn::server {

class Files {
 public:
  // `is_session_there` says whether a session's folder is left. It blocks.
  Files(Executor executor, const std::filesystem::path& data, Clock& clock, Random& random, const Log& log,
        std::function<bool(const std::string& session)> is_session_there);

  FileStore store;
  BlockingPool blocking;
  Uploads uploads;
  CallFiles calls;

  // Clears away now and every hour from then on. Errors: those of FileStore::open().
  void start();
  Async<void> close();

  // send_file() of one of these.
  // Errors: io_error; connection_failed when the client is gone.
  Async<void> send(FileInfo file, const http::Request& request, http::Responder& responder);

  // Which bodies stream, for http::ServerLimits.
  static std::optional<std::uint64_t> body_stream(http::Method method, std::string_view target);

 private:
  Async<void> sweep_again_and_again();

  Clock& clock_;
  const Log& log_;
  std::function<bool(const std::string& session)> is_session_there_;
  TaskGroup sweeping_;
};

// Sends a file whose content is there, or the part of it that a Range asks for; it is read on `blocking`.
// Errors: io_error; connection_failed when the client is gone.
Async<void> send_file(FileInfo file, std::filesystem::path content, BlockingPool& blocking,
                      const http::Request& request, http::Responder& responder);

}  // namespace sojourn::server
