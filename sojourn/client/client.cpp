#include "sojourn/client/client.hpp"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::client {

namespace {

// Destroys what has connections where these belong.
template <class T>
Async<void> drop(T& owner) {
  owner.reset();
  co_return;
}

Options options_of(std::string url, std::string api_key) {
  Options options;
  options.url = std::move(url);
  options.api_key = std::move(api_key);
  return options;
}

}  // namespace

Client::Client() : Client(options_from_environment()) {}

Client::Client(std::string url, std::string api_key) : Client(options_of(std::move(url), std::move(api_key))) {}

Client::Client(Options options) {
  check(options);
  loop_.emplace();
  async_.emplace(loop_->executor(), clock_, std::move(options));
}

Client::~Client() {
  loop_->run(drop(async_));
}

Task Client::run(RunRequest request) {
  return loop_->run(async_->run(std::move(request)));
}

Task Client::start(RunRequest request) {
  return loop_->run(async_->start(std::move(request)));
}

Task Client::task(const std::string& task_id) {
  return loop_->run(async_->task(task_id));
}

Task Client::wait(const std::string& task_id, std::optional<Milliseconds> timeout) {
  return loop_->run(async_->wait(task_id, timeout));
}

Task Client::cancel(const std::string& task_id) {
  return loop_->run(async_->cancel(task_id));
}

JsonArray Client::logs(const std::string& task_id, std::uint64_t from) {
  return loop_->run(async_->logs(task_id, from));
}

TaskStream Client::stream(const std::string& task_id, std::optional<Milliseconds> timeout) {
  return TaskStream(*this, async_->stream(task_id, timeout));
}

Session Client::session(NewSession request) {
  return Session(*this, loop_->run(async_->session(std::move(request))), true);
}

Session Client::attach(const std::string& session_id) {
  return Session(*this, async_->attach(session_id), false);
}

FoundSessions Client::sessions(SessionQuery query) {
  return loop_->run(async_->sessions(std::move(query)));
}

JsonArray Client::apps() {
  return loop_->run(async_->apps());
}

std::string Client::upload(NewFile file) {
  return loop_->run(async_->upload(std::move(file)));
}

std::string Client::upload_file(const std::filesystem::path& path, const std::string& content_type) {
  if (std::filesystem::is_directory(path)) throw io_error("cannot read " + path.string(), EISDIR);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (!file) throw io_error("cannot read " + path.string(), errno);
  return upload({.name = path.filename().string(), .bytes = std::move(bytes), .content_type = content_type});
}

std::string Client::download(const std::string& uri) {
  return loop_->run(async_->download(uri));
}

void Client::download_file(const std::string& uri, const std::filesystem::path& path) {
  const std::string bytes = download(uri);
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw io_error("cannot write " + path.string(), errno);
}

Reply Client::ask(Question question) {
  return loop_->run(async_->ask(std::move(question)));
}

Session::Session(Client& client, AsyncSession session, bool is_owned)
    : client_(&client), session_(std::move(session)), is_owned_(is_owned) {}

Session::Session(Session&& other) noexcept
    : client_(other.client_), session_(std::move(other.session_)), is_owned_(std::exchange(other.is_owned_, false)) {}

Session::~Session() {
  if (!is_owned_) return;
  try {
    end();
  } catch (...) {
    // Nobody is left to hear of it; its idle time-out ends it then.
  }
}

const std::string& Session::release() {
  is_owned_ = false;
  return session_.id();
}

Task Session::call(Json input, std::string function, CallOptions options) {
  return client_->loop_->run(session_.call(std::move(input), std::move(function), std::move(options)));
}

TaskStream Session::stream(Json input, std::string function, CallOptions options) {
  const auto timeout = options.timeout;
  const Task task = client_->start({.function = std::move(function),
                                    .input = std::move(input),
                                    .session = session_.id(),
                                    .options = std::move(options)});
  return client_->stream(task.id(), timeout);
}

JsonObject Session::info() {
  return client_->loop_->run(session_.info());
}

JsonObject Session::keepalive() {
  return client_->loop_->run(session_.keepalive());
}

void Session::end() {
  client_->loop_->run(session_.end());
}

JsonObject Session::state() {
  return client_->loop_->run(session_.state());
}

std::optional<Json> Session::get_state(const std::string& key) {
  return client_->loop_->run(session_.get_state(key));
}

void Session::set_state(const std::string& key, Json value) {
  client_->loop_->run(session_.set_state(key, std::move(value)));
}

void Session::delete_state(const std::string& key) {
  client_->loop_->run(session_.delete_state(key));
}

JsonArray Session::events(std::uint64_t from) {
  return client_->loop_->run(session_.events(from));
}

TaskStream::TaskStream(Client& client, AsyncTaskStream stream)
    : client_(&client), stream_(std::make_unique<AsyncTaskStream>(std::move(stream))) {}

TaskStream::~TaskStream() {
  if (stream_) client_->loop_->run(drop(stream_));
}

std::optional<Update> TaskStream::next() {
  return client_->loop_->run(stream_->next());
}

Task TaskStream::result() {
  return client_->loop_->run(stream_->result());
}

}  // namespace sojourn::client
