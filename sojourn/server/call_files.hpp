#pragma once

#include <set>
#include <string>
#include <string_view>

#include "sojourn/base/loop.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/server/api_keys.hpp"
#include "sojourn/server/file_store.hpp"

// Files in calls: those that an input names are put into the session's folder, and those that an output names are
// taken from there, so that GET /files/ID answers them (docs/formats/http.md, "Files").
namespace sojourn::server {

// The file that a text names: "/files/ID", with or without "http://ANYONE" and "/v1" before it. The id says enough:
// nobody guesses it, and a proxy may give the server any name.
std::optional<std::string> file_id_of(std::string_view uri);

// The ids of all files that `input` names. Errors: invalid_request for more than limits::files_per_request.
std::set<std::string> files_in(const Json& input);

// Whether `caller` may use the file: its own, or anyone's with the scope admin.
bool may_use(const FileInfo& file, const Caller& caller);

// Threads: one executor; blocks on the pool only.
class CallFiles {
 public:
  CallFiles(const FileStore& store, Clock& clock, Random& random, BlockingPool& blocking)
      : store_(store), clock_(clock), random_(random), blocking_(blocking) {}

  // What is known of the file. Errors: not_found, also for a file that `caller` may not use.
  Async<FileInfo> find(std::string id, Caller caller);

  // Puts each file that `input` names into `folder`, as files/ID/NAME, and replaces a text that names one by
  // {"uri", "path", "filename", "content_type", "size"}; an object with such a "uri" gets the other fields.
  // Errors: not_found for a file that is there no more, store_full, io_error.
  // Durable: the files, when it returns.
  Async<Json> bring(Json input, std::string folder);

  // Replaces each {"file": {"path": PATH}} of `output` by {"file": {"uri", "filename", "content_type", "size",
  // "sha256"}}, PATH being a file in the session's folder, of which a copy is kept.
  // Errors: invalid_request for a path that leads elsewhere, over a link, or to what is no plain file; not_found,
  //         too_large, store_full, io_error.
  // Durable: the copies, when it returns.
  Async<Json> keep(Json output, runtime::OutputPlace place);

 private:
  JsonObject place(const std::string& id, const std::string& folder) const;
  FileInfo keep_one(const JsonObject& file, const runtime::OutputPlace& place) const;

  const FileStore& store_;
  Clock& clock_;
  Random& random_;
  BlockingPool& blocking_;
};

}  // namespace sojourn::server
