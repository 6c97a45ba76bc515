#include "sojourn/server/metrics.hpp"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <memory>
#include <utility>

namespace sojourn::server {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double seconds(Instant::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Families under way to their text.
class Families {
 public:
  void begin(MetricType type, std::string name, std::string help) {
    families_.push_back({std::move(name), std::move(help), type, {}});
  }
  void counter(std::string name, std::string help) { begin(MetricType::Counter, std::move(name), std::move(help)); }
  void gauge(std::string name, std::string help) { begin(MetricType::Gauge, std::move(name), std::move(help)); }
  void histogram(std::string name, std::string help) {
    begin(MetricType::Histogram, std::move(name), std::move(help));
  }

  // A series of the family begun last.
  void value(double value, Labels labels = {}) {
    ClientMetric metric{.label = std::move(labels)};
    metric.counter.value = metric.gauge.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  void value(std::uint64_t count, Labels labels = {}) { value(static_cast<double>(count), std::move(labels)); }
  void value(const runtime::Durations& durations, Labels labels = {}) {
    ClientMetric metric{.label = std::move(labels)};
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < runtime::Durations::bounds.size(); ++i) {
      count += durations.counts()[i];
      metric.histogram.bucket.push_back({count, seconds(runtime::Durations::bounds[i])});
    }
    metric.histogram.sample_count = count + durations.counts().back();
    metric.histogram.sample_sum = seconds(durations.sum());
    families_.back().metric.push_back(std::move(metric));
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void add_sessions(Families& families, const runtime::Counts& counts) {
  families.counter("sojourn_sessions_created_total", "Sessions created.");
  for (const auto& [app, of] : counts.apps()) families.value(of.sessions_created, {{"app", app}});
  families.counter("sojourn_sessions_over_total", "Sessions that are over, by how they ended.");
  for (const auto& [app, of] : counts.apps()) {
    for (const auto& [status, number] : of.sessions_over) {
      families.value(number, {{"app", app}, {"status", std::string(store::to_string(status))}});
    }
  }
  families.histogram("sojourn_session_creation_seconds", "Time until a new session was durable.");
  families.value(counts.session_creation);
}

void add_calls(Families& families, const runtime::Counts& counts) {
  families.counter("sojourn_calls_total", "Calls that are over, by outcome, and failed ones by error code.");
  for (const auto& [app, of] : counts.apps()) {
    families.value(of.calls_completed, {{"app", app}, {"outcome", "completed"}, {"code", ""}});
    families.value(of.calls_cancelled, {{"app", app}, {"outcome", "cancelled"}, {"code", ""}});
    for (const auto& [code, number] : of.calls_failed) {
      families.value(number, {{"app", app}, {"outcome", "failed"}, {"code", std::string(info(code).wire)}});
    }
  }
  families.histogram("sojourn_call_seconds", "Time of calls that ran, the start of their worker included.");
  for (const auto& [app, of] : counts.apps()) families.value(of.call_time, {{"app", app}});
  families.histogram("sojourn_call_wait_seconds", "Time that calls waited in their session's queue.");
  for (const auto& [app, of] : counts.apps()) families.value(of.wait_time, {{"app", app}});
  families.histogram("sojourn_step_seconds", "Time of the steps of algorithms.");
  for (const auto& [app, of] : counts.apps()) {
    for (const auto& [step, time] : of.step_time) families.value(time, {{"app", app}, {"step", step}});
  }
  families.histogram("sojourn_worker_start_seconds", "Time until a worker could take its first call.");
  for (const auto& [app, of] : counts.apps()) {
    for (const auto& [kind, starts] : of.worker_starts) families.value(starts, {{"app", app}, {"kind", kind}});
  }
  families.counter("sojourn_resources_registered_total", "Resources that apps registered, by kind.");
  for (const auto& [kind, number] : counts.resources()) families.value(number, {{"kind", kind}});
}

using Load = std::map<std::string, runtime::AppLoad>;

void add_load(Families& families, const Load& load, std::uint64_t scheduled,
              const std::map<std::string, ProcessMemory>& memory) {
  const auto gauge = [&](std::string name, std::string help, auto number) {
    families.gauge(std::move(name), std::move(help));
    for (const auto& [app, of] : load) {
      families.value(static_cast<std::uint64_t>(number(app, of)), {{"app", app}});
    }
  };
  gauge("sojourn_sessions_live", "Sessions in memory.",
        [](const std::string&, const runtime::AppLoad& of) { return of.sessions; });
  gauge("sojourn_sessions_busy", "Sessions that serve something now.",
        [](const std::string&, const runtime::AppLoad& of) { return of.busy; });
  gauge("sojourn_calls_waiting", "Calls and state writes that wait in queues.",
        [](const std::string&, const runtime::AppLoad& of) { return of.waiting; });
  families.gauge("sojourn_calls_scheduled", "Calls that wait for their run_at.");
  families.value(scheduled);
  gauge("sojourn_workers", "Live workers.",
        [](const std::string&, const runtime::AppLoad& of) { return of.workers; });
  gauge("sojourn_workers_spare", "Workers that wait for a session.",
        [](const std::string&, const runtime::AppLoad& of) { return of.spares; });
  gauge("sojourn_workers_sampled", "Worker processes whose memory was read.",
        [&](const std::string& app, const runtime::AppLoad&) { return memory.at(app).processes; });
  gauge("sojourn_workers_memory_bytes", "Resident memory of those, shared pages with each.",
        [&](const std::string& app, const runtime::AppLoad&) { return memory.at(app).bytes; });
}

void add_server(Families& families, const MetricSources& sources, const std::vector<const RouteCount*>& routes) {
  const store::WriterStatistics store = sources.store ? sources.store() : store::WriterStatistics();
  families.counter("sojourn_store_commits_total", "Commits that became durable.");
  families.value(store.changes);
  families.counter("sojourn_store_transactions_total", "Transactions, one sync each, that took those along.");
  families.value(store.transactions);

  const http::ServerStatistics http = sources.http ? sources.http() : http::ServerStatistics();
  families.gauge("sojourn_http_connections", "Open connections.");
  families.value(http.connections);
  families.counter("sojourn_http_connections_total", "Connections accepted.");
  families.value(http.accepted);
  families.counter("sojourn_http_connections_turned_away_total", "Connections answered 503 for want of room.");
  families.value(http.turned_away);
  families.counter("sojourn_http_requests_refused_total", "Requests that broke a rule or limit of HTTP.");
  families.value(http.refused);
  families.counter("sojourn_http_requests_total", "Requests answered, by route and class of status.");
  for (const RouteCount* route : routes) {
    for (std::size_t i = 0; i < route->by_class.size(); ++i) {
      if (route->by_class[i] == 0) continue;
      families.value(route->by_class[i], {{"route", route->route}, {"status", fmt::format("{}xx", i + 1)}});
    }
  }
}

void add_webhooks(Families& families, const WebhookStatistics& webhooks) {
  families.counter("sojourn_webhook_attempts_total", "Attempts to tell a webhook, by outcome.");
  families.value(webhooks.delivered, {{"outcome", "delivered"}});
  families.value(webhooks.failed, {{"outcome", "failed"}});
  families.value(webhooks.given_up, {{"outcome", "given_up"}});
  families.gauge("sojourn_webhooks_open", "Webhooks of calls that are not over, or not yet told.");
  families.value(webhooks.open);
}

// So many of each app's pids that all together are at most most_sampled.
void sample(Load& load) {
  std::size_t all = 0;
  for (const auto& [app, of] : load) all += of.worker_pids.size();
  if (all <= most_sampled) return;
  for (auto& [app, of] : load) of.worker_pids.resize(of.worker_pids.size() * most_sampled / all);
}

}  // namespace

ProcessMemory memory_of(const std::vector<std::int64_t>& pids) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  ProcessMemory memory;
  for (const std::int64_t pid : pids) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        std::fopen(fmt::format("/proc/{}/statm", pid).c_str(), "re"), &std::fclose);
    unsigned long long resident = 0;
    if (!file || std::fscanf(file.get(), "%*u %llu", &resident) != 1) continue;
    ++memory.processes;
    memory.bytes += resident * page;
  }
  return memory;
}

Async<std::string> metrics_text(runtime::Runtime& runtime, const MetricSources& sources,
                                std::vector<const RouteCount*> routes, Clock& clock, BlockingPool& blocking) {
  const Instant posted = clock.instant();
  co_await boost::asio::post(co_await boost::asio::this_coro::executor, boost::asio::use_awaitable);
  const Instant::duration lag = clock.instant() - posted;

  Load load = runtime.load();
  sample(load);
  const auto memory = co_await blocking.run([&] {
    std::map<std::string, ProcessMemory> memory_of_apps;
    for (const auto& [app, of] : load) memory_of_apps.emplace(app, memory_of(of.worker_pids));
    return memory_of_apps;
  });

  const WebhookStatistics webhooks = sources.webhooks ? co_await sources.webhooks() : WebhookStatistics();

  Families families;
  add_sessions(families, runtime.counts());
  add_calls(families, runtime.counts());
  add_load(families, load, runtime.statistics().scheduled, memory);
  add_webhooks(families, webhooks);
  add_server(families, sources, routes);
  families.gauge("sojourn_loop_lag_seconds", "How late the loop came to this request's next turn.");
  families.value(seconds(lag));
  co_return families.text();
}

}  // namespace sojourn::server
