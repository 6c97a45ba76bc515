#include "sojourn/flow/saved_state.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <iterator>

namespace sojourn::flow {

namespace {

double seconds_of(Time time) {
  return static_cast<double>(time.time_since_epoch().count()) / 1e6;
}

double seconds_of(Nanoseconds duration) {
  return static_cast<double>(duration.count()) / 1e9;
}

std::string json_string(std::string_view text) {
  std::string json;
  append_json_string(json, to_valid_utf8(text));
  return json;
}

std::string or_null(const std::optional<std::string>& text) {
  return text ? json_string(*text) : "null";
}

std::string_view node_type(const NodeType& type) {
  return type.kind == "Tool" || type.kind == "Agent" ? std::string_view(type.kind) : "Other";
}

// Writes the parts of one session. Each part of a call has two versions, its head and the snapshot of its creation.
class Writer {
 public:
  Writer(const Uuid& uuid, const Graph& graph, std::string& out) : uuid_(uuid), graph_(graph), out_(out) {}

  void run(CallId root) {
    const CallRecord& first = graph_.call(root);
    const Graph part = graph_.only(std::span(&root, 1));
    put(R"({{"name":{},"run_id":"{}","nodes":[)", json_string(first.node->name), request_id(first));
    // Those that were called stand before who called them.
    for (auto call = part.calls().rbegin(); call != part.calls().rend(); ++call) {
      node(*call);
      if (std::next(call) != part.calls().rend()) out_ += ',';
    }
    put(R"(],"status":"{}","edges":[)", to_string(first.status()));
    for (auto call = part.calls().rbegin(); call != part.calls().rend(); ++call) {
      edge(*call);
      if (std::next(call) != part.calls().rend()) out_ += ',';
    }
    out_ += R"(],"steps":[)";
    steps(part);
    put(R"(],"start_time":{:.6f},"end_time":)", seconds_of(first.created.time));
    first.finished ? put("{:.6f}}}", seconds_of(first.finished->time)) : put("null}}");
  }

 private:
  template <class... A>
  void put(fmt::format_string<A...> format, A&&... values) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<A>(values)...);
  }

  std::string node_id(const CallRecord& call) const { return uuid_.of(Uuid::Kind::node, call.id); }
  std::string request_id(const CallRecord& call) const { return uuid_.of(Uuid::Kind::request, call.id); }

  std::string created(const CallRecord& call) const {
    const std::string caller = call.caller ? graph_.call(*call.caller).node->name : "START";
    return caller + " CREATED " + call.node->name;
  }
  static std::string finished(const CallRecord& call) { return "Finished executing " + call.node->name; }

  void stamp(const Stamp& stamp, const std::string& message) {
    put(R"({{"time":{:.6f},"step":{},"identifier":{}}})", seconds_of(stamp.time), stamp.step, json_string(message));
  }

  void node(const CallRecord& call) {
    if (call.finished) {
      node_version(call, *call.finished, finished(call), true);
      node_version(call, call.created, created(call), false);
      out_ += "null}}";
    } else {
      node_version(call, call.created, created(call), true);
      out_ += "null}";
    }
  }

  // Up to the value of "parent", which is the version before.
  void node_version(const CallRecord& call, const Stamp& at, const std::string& message, bool is_head) {
    put(R"({{"identifier":"{}","node_type":"{}","name":{},"stamp":)", node_id(call), node_type(*call.node),
        json_string(call.node->name));
    stamp(at, message);
    out_ += R"(,"details":{"internals":{)";
    const bool is_agent = call.node->kind == "Agent" || !call.model_calls.empty();
    if (is_agent) {
      out_ += R"("guard_details":[],"llm_details":[)";
      if (is_head) model_calls(call);
      out_ += ']';
    }
    if (is_head && call.finished) {
      put(R"({}"latency":{{"total_time":{:.9f}}})", is_agent ? "," : "", seconds_of(call.duration));
    }
    out_ += R"(}},"parent":)";
  }

  void model_calls(const CallRecord& call) {
    for (const Text& asked : call.model_calls) {
      if (&asked != &call.model_calls.front()) out_ += ',';
      out_ += *asked;
    }
  }

  void edge(const CallRecord& call) {
    if (call.finished) {
      edge_version(call, *call.finished, finished(call), call.status());
      edge_version(call, call.created, created(call), CallStatus::open);
      out_ += "null}}";
    } else {
      edge_version(call, call.created, created(call), CallStatus::open);
      out_ += "null}";
    }
  }

  void edge_version(const CallRecord& call, const Stamp& at, const std::string& message, CallStatus status) {
    const std::string source = call.caller ? '"' + node_id(graph_.call(*call.caller)) + '"' : "null";
    put(R"({{"identifier":"{}","source":{},"target":"{}","stamp":)", request_id(call), source, node_id(call));
    stamp(at, message);
    // An input that could not be recorded is the one argument that there is.
    const bool is_list = call.input->starts_with('[');
    put(R"(,"details":{{"input_args":{}{}{},"input_kwargs":{{}},"status":"{}","output":)", is_list ? "" : "[",
        *call.input, is_list ? "" : "]", to_string(status));
    switch (status) {
      case CallStatus::open:
        out_ += "null";
        break;
      case CallStatus::completed:
        out_ += *call.output;
        break;
      case CallStatus::failed:
        put(R"({{"type":{},"message":{},"traceback":""}})", json_string(call.failure->type),
            json_string(call.failure->message));
    }
    out_ += R"(},"parent":)";
  }

  void steps(const Graph& part) {
    struct Step {
      Stamp at;
      const CallRecord* call;
      bool is_end;
    };
    std::vector<Step> steps;
    for (const CallRecord& call : part.calls()) {
      steps.push_back({call.created, &call, false});
      if (call.finished) steps.push_back({*call.finished, &call, true});
    }
    std::ranges::sort(steps, {}, [](const Step& step) { return step.at.step; });
    for (const Step& step : steps) {
      if (&step != &steps.front()) out_ += ',';
      stamp(step.at, step.is_end ? finished(*step.call) : created(*step.call));
    }
  }

  const Uuid& uuid_;
  const Graph& graph_;
  std::string& out_;
};

}  // namespace

std::string saved_state(const SavedSession& session, const Graph& graph) {
  std::string out = fmt::format(
      R"({{"flow_name":{},"flow_id":null,"session_id":"{}","session_name":{},"start_time":{:.6f},"end_time":{:.6f},"runs":[)",
      or_null(session.flow_name), session.uuid.text(), or_null(session.name), seconds_of(session.start),
      seconds_of(session.end));
  const std::vector<CallId> roots = graph.roots();
  Writer writer(session.uuid, graph, out);
  for (const CallId root : roots) {
    if (root != roots.front()) out += ',';
    writer.run(root);
  }
  out += "]}";
  return out;
}

std::filesystem::path saved_home() {
  namespace fs = std::filesystem;
  constexpr const char* name = ".railtracks";
  if (const char* home = std::getenv("RAILTRACKS_HOME"); home != nullptr && *home != '\0')
    return fs::path(home) / name;
  for (fs::path folder = fs::current_path();; folder = folder.parent_path()) {
    if (fs::is_directory(folder / name)) return folder / name;
    if (folder == folder.parent_path()) return fs::current_path() / name;
  }
}

std::filesystem::path saved_file(const std::filesystem::path& home, const SavedSession& session) {
  std::string label = session.flow_name ? *session.flow_name : session.name.value_or("");
  if (label.size() > 100) label.resize(100);
  for (char& c : label) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ' ';
    if (!fits) c = '-';
  }
  return home / "data" / "sessions" / (label + "_" + session.uuid.text() + ".json");
}

}  // namespace sojourn::flow
