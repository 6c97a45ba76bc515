#include "sojourn/flow/saved_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <unordered_map>

#include "sojourn/base/sha256.hpp"

namespace sojourn::flow {

namespace {

void append_number(std::string& out, std::uint64_t number) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

// `count` of 1/`unit`-ths of a second, with all their digits: what a double would be written as, and much cheaper.
void append_seconds(std::string& out, std::int64_t count, std::int64_t unit) {
  if (count < 0) out += '-';
  const auto size = static_cast<std::uint64_t>(count < 0 ? -count : count);
  const auto parts = static_cast<std::uint64_t>(unit);
  append_number(out, size / parts);
  out += '.';
  for (std::uint64_t rest = size % parts, digit = parts / 10; digit > 0; digit /= 10) {
    out += static_cast<char>('0' + rest / digit % 10);
  }
}

void append_time(std::string& out, Time time) {
  append_seconds(out, time.time_since_epoch().count(), 1'000'000);
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
    std::vector<const CallRecord*> part{&first};
    for (const CallId below : graph_.downstream(root)) part.push_back(&graph_.call(below));
    // Those that were called stand before who called them.
    std::ranges::sort(part, std::greater(), &CallRecord::id);
    put(R"({"name":")", name(first), R"(","run_id":")");
    request_id(first);
    put(R"(","nodes":[)");
    for (const CallRecord* call : part) {
      if (call != part.front()) put(",");
      node(*call);
    }
    put(R"(],"status":")", to_string(first.status()), R"(","edges":[)");
    for (const CallRecord* call : part) {
      if (call != part.front()) put(",");
      edge(*call);
    }
    put(R"(],"steps":[)");
    steps(part);
    put(R"(],"start_time":)");
    append_time(out_, first.created.time);
    put(R"(,"end_time":)");
    first.finished ? append_time(out_, first.finished->time) : put("null");
    put("}");
  }

 private:
  template <class... Text>
  void put(const Text&... texts) {
    (out_.append(texts), ...);
  }

  // As it stands within a string of JSON.
  const std::string& name(const CallRecord& call) {
    std::string& known = names_[call.node.get()];
    if (known.empty()) {
      const std::string quoted = json_string(call.node->name);
      known = quoted.substr(1, quoted.size() - 2);
    }
    return known;
  }

  void node_id(const CallRecord& call) { uuid_.append_to(out_, Uuid::Kind::node, call.id); }
  void request_id(const CallRecord& call) { uuid_.append_to(out_, Uuid::Kind::request, call.id); }

  void created(const CallRecord& call) {
    put(R"({"time":)");
    append_time(out_, call.created.time);
    put(R"(,"step":)");
    append_number(out_, call.created.step);
    put(R"(,"identifier":")", call.caller ? name(graph_.call(*call.caller)) : "START", " CREATED ", name(call),
        R"("})");
  }

  void finished(const CallRecord& call) {
    put(R"({"time":)");
    append_time(out_, call.finished->time);
    put(R"(,"step":)");
    append_number(out_, call.finished->step);
    put(R"(,"identifier":"Finished executing )", name(call), R"("})");
  }

  void node(const CallRecord& call) {
    node_version(call, true);
    if (call.finished) {
      node_version(call, false);
      put("null}}");
    } else {
      put("null}");
    }
  }

  // Up to the value of "parent", which is the version before.
  void node_version(const CallRecord& call, bool is_head) {
    put(R"({"identifier":")");
    node_id(call);
    put(R"(","node_type":")", node_type(*call.node), R"(","name":")", name(call), R"(","stamp":)");
    is_head&& call.finished ? finished(call) : created(call);
    put(R"(,"details":{"internals":{)");
    const bool is_agent = call.node->kind == "Agent" || !call.model_calls.empty();
    if (is_agent) {
      put(R"("guard_details":[],"llm_details":[)");
      if (is_head) model_calls(call);
      put("]");
    }
    if (is_head && call.finished) {
      put(is_agent ? "," : "", R"("latency":{"total_time":)");
      append_seconds(out_, call.duration.count(), 1'000'000'000);
      put("}");
    }
    put(R"(}},"parent":)");
  }

  void model_calls(const CallRecord& call) {
    std::vector<Text> question;  // what is asked next repeats its beginning
    for (const auto& asked : call.model_calls) {
      question.resize(asked->repeated);
      question.insert(question.end(), asked->messages.begin(), asked->messages.end());
      put(asked == call.model_calls.front() ? "{" : ",{", asked->head, R"(,"input":[)");
      for (std::size_t i = 0; i < question.size(); ++i) put(i > 0 ? "," : "", *question[i]);
      put(R"(],"output":)", *asked->answer, ",", asked->tail, "}");
    }
  }

  void edge(const CallRecord& call) {
    edge_version(call, true);
    if (call.finished) {
      edge_version(call, false);
      put("null}}");
    } else {
      put("null}");
    }
  }

  void edge_version(const CallRecord& call, bool is_head) {
    put(R"({"identifier":")");
    request_id(call);
    put(R"(","source":)");
    if (call.caller) {
      put("\"");
      node_id(graph_.call(*call.caller));
      put("\"");
    } else {
      put("null");
    }
    put(R"(,"target":")");
    node_id(call);
    put(R"(","stamp":)");
    is_head&& call.finished ? finished(call) : created(call);
    // An input that could not be recorded is the one argument that there is.
    const bool is_list = call.input->starts_with('[');
    const CallStatus status = is_head ? call.status() : CallStatus::open;
    put(R"(,"details":{"input_args":)", is_list ? "" : "[", *call.input, is_list ? "" : "]",
        R"(,"input_kwargs":{},"status":")", to_string(status), R"(","output":)");
    switch (status) {
      case CallStatus::open:
        put("null");
        break;
      case CallStatus::completed:
        put(*call.output);
        break;
      case CallStatus::failed:
        put(R"({"type":)", json_string(call.failure->type), R"(,"message":)", json_string(call.failure->message),
            R"(,"traceback":""})");
    }
    put(R"(},"parent":)");
  }

  void steps(const std::vector<const CallRecord*>& part) {
    struct Step {
      std::uint32_t number;
      const CallRecord* call;
      bool is_end;
    };
    std::vector<Step> steps;
    steps.reserve(2 * part.size());
    for (const CallRecord* call : part) {
      steps.push_back({call->created.step, call, false});
      if (call->finished) steps.push_back({call->finished->step, call, true});
    }
    std::ranges::sort(steps, {}, &Step::number);
    for (const Step& step : steps) {
      if (&step != &steps.front()) put(",");
      step.is_end ? finished(*step.call) : created(*step.call);
    }
  }

  const Uuid& uuid_;
  const Graph& graph_;
  std::string& out_;
  std::unordered_map<const NodeType*, std::string> names_;
};

constexpr std::size_t bytes_of_a_call = 1'700;  // with short names and values

// One character of the text that a hash is made of, as Python's json writes it.
std::size_t append_ascii(std::string& out, std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) {
    out += text.front();
    return 1;
  }
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  std::uint32_t point = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) point = point << 6 | (static_cast<unsigned char>(text[i]) & 0x3f);
  if (point < 0x10000) {
    out += fmt::format("\\u{:04x}", point);
  } else {
    point -= 0x10000;
    out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (point >> 10), 0xdc00 + (point & 0x3ff));
  }
  return length;
}

}  // namespace

std::string flow_id_of(std::string_view flow_name) {
  const std::string quoted = json_string(flow_name);
  std::string text = R"({"name": )";
  for (std::size_t i = 0; i < quoted.size();) i += append_ascii(text, std::string_view(quoted).substr(i));
  return to_hex(sha256(text + "}"));
}

std::string saved_state(const SavedSession& session, const Graph& graph) {
  std::string out;
  out.reserve(500 + bytes_of_a_call * graph.calls().size());
  out += fmt::format(R"({{"flow_name":{},"flow_id":{},"session_id":"{}","session_name":{},"start_time":)",
                     or_null(session.flow_name),
                     session.flow_name ? json_string(flow_id_of(*session.flow_name)) : "null", session.uuid.text(),
                     or_null(session.name));
  append_time(out, session.start);
  out += R"(,"end_time":)";
  append_time(out, session.end);
  out += R"(,"runs":[)";
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
