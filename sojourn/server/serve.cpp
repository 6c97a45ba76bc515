#include "sojourn/server/serve.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <cstring>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/artifacts.hpp"
#include "sojourn/server/folder_writer.hpp"
#include "sojourn/server/journal_keys.hpp"
#include "sojourn/server/journal_store.hpp"
#include "sojourn/server/refusal_log.hpp"
#include "sojourn/server/wire.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/journal_key.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/sessions_owner.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/worker/isolation.hpp"
#include "sojourn/worker/process_app.hpp"
#include "sojourn/worker/supervisor_mark.hpp"

namespace sojourn::server {

namespace {

namespace asio = boost::asio;

bool is_loopback(const std::string& host) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  return host == "localhost" || (!error && address.is_loopback());
}

std::optional<ApiKeys> read_keys(const ServeOptions& options) {
  if (options.keys) return ApiKeys::read(*options.keys);
  if (!is_loopback(options.host)) {
    throw Error(
        ErrorCode::config_invalid,
        fmt::format("{} can be reached by other machines, which takes API keys: name their file by --keys FILE "
                    "(sojourn keys create makes one), or listen on 127.0.0.1",
                    options.host));
  }
  return std::nullopt;
}

session::Lifecycles read_lifecycles(const ServeOptions& options) {
  session::Lifecycles lifecycles;
  lifecycles.read(options.lifecycles);
  return lifecycles;
}

// What marks the workers of every server on this data, one after another: the next one finds by it what they left.
std::uint32_t owner_of(const std::filesystem::path& data) {
  struct stat folder{};
  if (::stat(data.c_str(), &folder) != 0) throw io_error(data.string(), errno);
  const Hash hash = sha256(fmt::format("{}:{}", folder.st_dev, folder.st_ino));
  std::uint32_t owner = 0;
  std::memcpy(&owner, hash.data(), sizeof owner);
  return owner % worker::Mark::most_owner + 1;
}

// Sessions elsewhere than in the data folder have nobody who keeps strangers out of the folders above theirs.
std::filesystem::path sessions_folder(const ServeOptions& options) {
  if (options.sessions.empty()) return {};
  if (!options.worker_users.is_empty()) {
    throw Error(ErrorCode::config_invalid,
                "worker_uids needs the sessions' folders in the data folder: leave data_sessions_path out");
  }
  store::make_folders(options.sessions);  // what is hidden from workers must be there
  return options.sessions;
}

std::vector<std::filesystem::path> hidden_from_workers(const ServeOptions& options) {
  std::vector<std::filesystem::path> hidden{options.data};
  if (!options.sessions.empty()) hidden.push_back(options.sessions);
  if (options.keys) hidden.push_back(*options.keys);
  return hidden;
}

// Half of the descriptors, so that clients cannot take those that workers need.
std::size_t most_connections() {
  rlimit limit{};
  const std::size_t usual = http::ServerLimits().connections;
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? std::min(usual, limit.rlim_cur / 2) : usual;
}

// Everything that serves, in the order it was opened; closed in reverse.
class Service {
 public:
  Service(Executor executor, const ServeOptions& options, const Log& log)
      : executor_(std::move(executor)),
        options_(options),
        log_(log),
        keys_(read_keys(options)),
        lifecycles_(read_lifecycles(options)),
        store_(store::SqliteStore::open({.folder = options.data,
                                         .lays_out_log = true,
                                         .sync_failed = [this] { tell_of_failed_sync(); },
                                         .refused = [this](const Error& why) { refusals_.tell(why); }})),
        folders_(options.data, sessions_folder(options)),
        key_(store::open_journal_key(options.data)),
        public_key_(key_.public_key()),
        journal_keys_{key_, store::find_public_keys(options.data), store::ArtifactStore(options.data)},
        folder_writer_(executor_, *store_, folders_, clock_, log_),
        journals_(*store_, key_,
                  [this](const std::string& session, bool metadata_changed) {
                    followers_.wake(session);
                    if (metadata_changed) folder_writer_.renew(session);
                  }),
        owner_(owner_of(options.data)),
        isolation_(owner_, options.worker_users, options.data, hidden_from_workers(options)),
        supervisor_(executor_, clock_, log_,
                    {.program = options.supervisor_program,
                     .owner = owner_,
                     .cgroups = isolation_.cgroups(),
                     .users = isolation_.users()}),
        files_(
            executor_, options.data, clock_, random_, log_,
            [this](const std::string& session) { return std::filesystem::is_directory(folders_.path_of(session)); }),
        runtime_(executor_, journals_, clock_, random_, log_, runtime_options()),
        artifacts_(runtime_, journals_, options.data, folders_, log_),
        webhooks_(executor_, runtime_, *store_, clock_, random_, log_, options.webhooks),
        retention_(executor_, journals_, options.data, folders_, clock_, log_, options.retention,
                   [this] { return store_->bytes_used(); }),
        api_(runtime_, *store_, clock_,
             {.keys = std::move(keys_),
              .stream = {},
              .isolation = [this] { return isolation_.describe(); },
              .check_store = [this] { return store_->check_in_place(); },
              .metrics = {.store = [this] { return store_->statistics(); },
                          .http = [this] { return http_.statistics(); },
                          .webhooks = [this] { return webhooks_.statistics(); }},
              .files = &files_,
              .webhooks = options.webhooks.key.empty() ? nullptr : &webhooks_,
              .artifacts = &artifacts_,
              .audit_reads = options.audit_reads,
              .followers = &followers_,
              .journal_keys = &journal_keys_,
              .audit_path = [this](const std::string& id) { return folders_.path_of(id).string(); }}),
        http_(
            executor_, clock_, log_, {.streams = Files::body_stream, .connections = most_connections()},
            [this](http::Request request, http::Responder& responder) {
              return api_.handle(std::move(request), responder);
            },
            error_response),
        signals_(executor_, SIGTERM, SIGINT),
        stopping_(executor_) {
    if (!options.sessions.empty()) store::claim_sessions(options.sessions, public_key_.id(), journal_keys_.all);
    // A terminal that goes away ends it like Ctrl-C, but for one started by nohup.
    struct sigaction hangup{};
    if (::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) signals_.add(SIGHUP);
  }

  Async<void> run() {
    std::exception_ptr failure;
    try {
      co_await start();
      co_await wait_for_signal();
    } catch (...) {
      failure = std::current_exception();
    }
    co_await stop();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  void tell_of_failed_sync() const {
    log_.error(
        "the disk failed to sync the store; nothing is lost, but sojourn.db-wal grows until the server is started "
        "again: check the disk, then restart",
        {{"folder", options_.data.string()}});
  }

  runtime::Options runtime_options() {
    return {
        .owner = fmt::format("server-{}", random_.hex(4)),
        .journal_key = public_key_.id(),
        .make_folder =
            [this](const store::SessionRecord& record) {
              return std::filesystem::absolute(folders_.make(record)).string();
            },
        .keep_folder = [this](const store::SessionRecord& record) { folders_.sync(record.id); },
        .bring_files = [this](Json input,
                              std::string folder) { return files_.calls.bring(std::move(input), std::move(folder)); },
        .keep_files =
            [this](Json output, runtime::OutputPlace place) {
              return files_.calls.keep(std::move(output), std::move(place));
            },
        .lifecycles = lifecycles_,
        .webhook_owed = [this] { webhooks_.look(); }};
  }

  Async<void> start() {
    if (has_programs_) {
      co_await supervisor_.ready(clock_.instant() + Seconds(10));
      co_await isolation_.try_sandbox(supervisor_, clock_, clock_.instant() + Seconds(10));
    }
    isolation_.tell(log_);
    add_apps();
    files_.start();
    artifacts_.start();
    co_await runtime_.recover();
    if (!options_.webhooks.key.empty()) webhooks_.look();
    retention_.start();
    for (const auto& program : programs_) program->keep_warm();
    const std::uint16_t port = http_.listen(options_.host, options_.port);
    const bool v6 = options_.host.find(':') != std::string::npos;
    const std::string address =
        fmt::format(fmt::runtime(v6 ? "http://[{}]:{}" : "http://{}:{}"), options_.host, port);
    log_.info("journals are signed", {{"key", public_key_.id()}});
    log_.info("serving", {{"address", address}, {"data", options_.data.string()}, {"apps", runtime_.apps().size()}});
    options_.on_ready(address);
  }

  void add_apps() {
    for (const std::shared_ptr<session::App>& app : options_.own_apps) runtime_.add_app(app);
    if (!has_programs_) {
      if (options_.own_apps.empty()) {
        log_.warning("there is no folder of apps, so there is nothing to run", {{"apps", options_.apps.string()}});
      }
      return;
    }
    worker::FoundManifests found = worker::find_manifests(options_.apps);
    for (const auto& [folder, error] : found.broken) {
      const std::string what = to_valid_utf8(error.message());
      log_.error("an app cannot be served", {{"error", what}});
      // The message begins with the file's path, which is the server's own business.
      const std::size_t file = what.find("app.toml");
      runtime_.note_missing_app(folder, fmt::format("there is a folder of that name, but it cannot be served: {}",
                                                    file == std::string::npos ? what : what.substr(file)));
    }
    for (worker::Manifest& manifest : found.apps) {
      if (manifest.sandbox.is_wanted && isolation_.no_sandbox()) {
        const std::string why = "it asks for a sandbox, and none can be made: " + *isolation_.no_sandbox();
        log_.error("an app cannot be served", {{"app", manifest.info.name}, {"error", why}});
        runtime_.note_missing_app(manifest.info.name, why);
        continue;
      }
      programs_.push_back(
          std::make_shared<worker::ProcessApp>(std::move(manifest), supervisor_, isolation_, clock_, log_));
      runtime_.add_app(programs_.back());
    }
  }

  Async<void> wait_for_signal() {
    const int signal = co_await signals_.async_wait(asio::use_awaitable);
    log_.info("stopping", {{"signal", signal}, {"grace_seconds", options_.drain_grace.count()}});
    // A second signal cuts the waiting short.
    stopping_.spawn(hurry_on_signal());
  }

  Async<void> hurry_on_signal() {
    co_await signals_.async_wait(asio::use_awaitable);
    log_.info("stopping at once");
    runtime_.hurry();
  }

  // Whatever goes wrong in it, the rest is closed too.
  Async<void> close_runtime() {
    try {
      co_await runtime_.close(clock_.instant() + options_.drain_grace);
    } catch (const std::exception& error) {
      log_.error("closing the sessions failed", {{"error", to_valid_utf8(error.what())}});
    }
  }

  Async<void> stop() {
    // Connections are taken until the calls are over, so that balancers read in /readyz that the server stops.
    co_await close_runtime();
    followers_.close();
    http_.stop_accepting();
    co_await http_.close(clock_.instant() + Seconds(2));
    for (const auto& program : programs_) co_await program->close();
    co_await webhooks_.close();
    co_await retention_.close();
    co_await files_.close();
    co_await supervisor_.close();
    co_await folder_writer_.close();
    co_await store_->close();
    stopping_.cancel();
    co_await stopping_.join();
    log_.info("stopped");
  }

  Executor executor_;
  const ServeOptions& options_;
  const Log& log_;
  SystemClock clock_;
  RefusalLog refusals_{clock_, log_};
  SystemRandom random_;
  std::optional<ApiKeys> keys_;
  session::Lifecycles lifecycles_;
  std::unique_ptr<store::SqliteStore> store_;
  store::SessionFolders folders_;
  const SigningKey key_;
  const PublicKey public_key_;
  const JournalKeys journal_keys_;
  JournalFollowers followers_;
  FolderWriter folder_writer_;
  JournalStore journals_;
  const std::uint32_t owner_;
  worker::Isolation isolation_;
  worker::Supervisor supervisor_;
  std::vector<std::shared_ptr<worker::ProcessApp>> programs_;  // shared with the runtime
  Files files_;
  runtime::Runtime runtime_;
  Artifacts artifacts_;
  Webhooks webhooks_;
  Retention retention_;
  Api api_;
  http::Server http_;
  asio::signal_set signals_;  // from start to end, since a signal that nobody waits for then would kill the server
  TaskGroup stopping_;
  const bool has_programs_ = std::filesystem::is_directory(options_.apps);  // apps that run as processes
};

// A connection takes one descriptor and a worker three; the usual soft limit of 1,024 is for programs that use
// select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

void serve(const ServeOptions& options, const Log& log) {
  raise_descriptor_limit();
  // A client that goes away is an error of its write, not the end of the server.
  std::signal(SIGPIPE, SIG_IGN);
  Loop loop;
  Service service(loop.executor(), options, log);
  loop.run(service.run());
}

}  // namespace sojourn::server
