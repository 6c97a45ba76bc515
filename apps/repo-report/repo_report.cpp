#include <algorithm>
#include <boost/describe.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

#include "sojourn/base/sha256.hpp"
#include "sojourn/flow/agent.hpp"
#include "sojourn/flow/app.hpp"
#include "sojourn/flow/openai_model.hpp"
#include "sojourn/flow/prompt.hpp"
#include "sojourn/flow/session.hpp"
#include "sojourn/worker/serve.hpp"

// What is in a source tree: its languages, its largest files, what is there twice, what is left to do.
//
// A flow of seven kinds of nodes: one walks, then for each file one reads and three look at it at the same time, one
// ranks what they found and one writes it down. Files are many, so the batch over them is where the work is.
namespace {

using namespace sojourn;
namespace fs = std::filesystem;

struct FileFacts {
  std::string path;
  std::string language;
  std::uint64_t lines = 0;
  std::uint64_t marks = 0;  // of things left to do
  std::string hash;
};
BOOST_DESCRIBE_STRUCT(FileFacts, (), (path, language, lines, marks, hash))

struct Ranking {
  std::map<std::string, std::uint64_t> lines_by_language;
  std::vector<FileFacts> largest;
  std::vector<std::vector<std::string>> same;  // files of the same content
  std::uint64_t files = 0;
  std::uint64_t marks = 0;
};
BOOST_DESCRIBE_STRUCT(Ranking, (), (lines_by_language, largest, same, files, marks))

constexpr std::uintmax_t largest_read = 4 << 20;

std::vector<std::string> walk(const std::string& root) {
  std::vector<std::string> files;
  for (fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied), end; it != end;
       ++it) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && !it->is_symlink() && it->file_size() <= largest_read) {
      files.push_back(fs::relative(it->path(), root).string());
    }
  }
  std::ranges::sort(files);
  return files;
}

std::string language(const std::string& path) {
  static const std::map<std::string, std::string> known = {
      {".cpp", "C++"},     {".hpp", "C++"},   {".h", "C++"},     {".py", "Python"},   {".js", "JavaScript"},
      {".md", "Markdown"}, {".json", "JSON"}, {".toml", "TOML"}, {".cmake", "CMake"}, {".csv", "CSV"}};
  const fs::path file(path);
  if (file.filename() == "CMakeLists.txt") return "CMake";
  const auto found = known.find(file.extension().string());
  return found == known.end() ? "other" : found->second;
}

std::uint64_t count_lines(const std::string& text) {
  return static_cast<std::uint64_t>(std::ranges::count(text, '\n')) + (!text.empty() && text.back() != '\n' ? 1 : 0);
}

// Words in which people say that something is not done; put together here so that this file has none.
std::uint64_t find_marks(const std::string& text) {
  std::uint64_t marks = 0;
  for (const std::string& word : {std::string("TO") + "DO", std::string("FIX") + "ME"}) {
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++marks;
  }
  return marks;
}

Ranking rank(const std::vector<FileFacts>& files) {
  Ranking ranking{.files = files.size()};
  std::map<std::string, std::vector<std::string>> by_hash;
  for (const FileFacts& file : files) {
    ranking.lines_by_language[file.language] += file.lines;
    ranking.marks += file.marks;
    if (file.lines > 0) by_hash[file.hash].push_back(file.path);
  }
  for (auto& [hash, paths] : by_hash) {
    if (paths.size() > 1) ranking.same.push_back(std::move(paths));
  }
  std::ranges::sort(ranking.same);
  ranking.largest = files;
  std::ranges::sort(ranking.largest, [](const FileFacts& a, const FileFacts& b) {
    return a.lines != b.lines ? a.lines > b.lines : a.path < b.path;
  });
  ranking.largest.resize(std::min<std::size_t>(3, ranking.largest.size()));
  return ranking;
}

std::string summarise(const Ranking& ranking) {
  std::ostringstream text;
  text << ranking.files << " files";
  for (const auto& [name, lines] : ranking.lines_by_language) text << "; " << name << ' ' << lines;
  text << "\nlargest:";
  for (const FileFacts& file : ranking.largest) text << ' ' << file.path << " (" << file.lines << ')';
  text << "\nthe same:";
  for (const auto& paths : ranking.same) {
    for (const std::string& path : paths) text << ' ' << path;
    text << ';';
  }
  text << "\nleft to do: " << ranking.marks << '\n';
  return text.str();
}

const auto read = flow::node("read", [](const std::string& root, const std::string& path) {
  std::ifstream file(fs::path(root) / path, std::ios::binary);
  if (!file) throw Error(ErrorCode::io_error, path + " cannot be read");
  return to_valid_utf8(std::string(std::istreambuf_iterator<char>(file), {}));
});

// Text that is read aloud by a model goes no further than the tree.
const auto read_for_model = flow::node("read for model", [](flow::Scope& scope, const std::string& path) {
  const fs::path root = fs::canonical(std::string(scope.context().get("root").as_string()));
  const fs::path file = fs::weakly_canonical(root / path);
  if (fs::relative(file, root).string().starts_with(".."))
    throw Error(ErrorCode::forbidden, path + " is not in the tree");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorCode::io_error, path + " cannot be read");
  return to_valid_utf8(std::string(std::istreambuf_iterator<char>(in), {}).substr(0, 20'000));
});

using Teller = flow::Node<flow::AgentReply<>, flow::Conversation>;

Teller teller(std::shared_ptr<flow::ChatModel> model) {
  return flow::agent("tell", std::move(model),
                     {.system_message = "You describe the source tree {root} in three sentences.",
                      .tools = {flow::tool(read_for_model, "The text of a file of the tree", {"path"})}});
}

// The model that is to describe the tree, if there is one.
std::optional<Teller> teller_of_environment(Clock& clock) {
  const auto variable = [](const char* name) { return std::string(std::getenv(name) ? std::getenv(name) : ""); };
  const std::string endpoint = variable("REPO_REPORT_ENDPOINT");
  if (endpoint.empty()) return std::nullopt;
  return teller(std::make_shared<flow::OpenAiModel>(
      clock,
      flow::OpenAiOptions{
          .endpoint = endpoint, .model = variable("REPO_REPORT_MODEL"), .api_key = variable("REPO_REPORT_KEY")}));
}

auto report(std::optional<Teller> tell) {
  const auto count = flow::node("count", count_lines);
  const auto hash = flow::node("hash", [](const std::string& text) { return to_hex(sha256(text)); });
  const auto marks = flow::node("find marks", find_marks);
  const auto look_at =
      flow::node("look at", [=](flow::Scope& scope, std::string root, std::string path) -> Async<FileFacts> {
        const std::string text = co_await scope.call(read, root, path);
        co_return FileFacts{.path = path,
                            .language = language(path),
                            .lines = co_await scope.call(count, text),
                            .marks = co_await scope.call(marks, text),
                            .hash = co_await scope.call(hash, text)};
      });
  return flow::node("report", [=](flow::Scope& scope, std::string root) -> Async<std::string> {
    const auto paths = co_await scope.call(flow::node("walk", walk), root);
    scope.broadcast(JsonObject{{"files", paths.size()}});
    std::vector<FileFacts> facts;
    std::uint64_t unread = 0;
    for (auto& outcome : co_await scope.call_batch(look_at, std::vector<std::string>(paths.size(), root), paths)) {
      if (outcome) {
        facts.push_back(std::move(*outcome));
      } else {
        ++unread;  // gone since, or not ours to read
      }
    }
    const Ranking ranking = co_await scope.call(flow::node("rank", rank), std::move(facts));
    std::string text = co_await scope.call(flow::node("summarise", summarise), ranking);
    if (unread > 0) text += std::to_string(unread) + " files could not be read\n";
    if (!tell) co_return text;
    scope.context().put("root", Json(root));
    try {
      text += "\n" + (co_await scope.call(*tell, flow::escape_braces(text))).content + "\n";
    } catch (const Error& error) {
      text += "\nThe model told nothing of it: " + error.message() + "\n";
    }
    co_return text;
  });
}

}  // namespace

int main(int count, char** words) {
  if (count > 2 || (count == 2 && !fs::is_directory(words[1]))) {
    std::cerr << "usage: repo_report FOLDER\n";
    return 2;
  }
  try {
    SystemClock clock;
    flow::ThreadPool pool;
    const auto node = report(teller_of_environment(clock));
    if (count < 2) return worker::serve(flow::app({.name = "repo-report"}, pool, {node}));  // a server's worker
    flow::Session session(pool, {.flow_name = "repo report"});
    std::cout << session.call_sync(node, words[1]);
    std::cerr << session.info().graph.calls().size() << " calls\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
