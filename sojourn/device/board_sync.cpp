#include "sojourn/device/board_sync.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace sojourn::device {

namespace {

constexpr std::size_t paths_at_once = 16;  // in one question: a small board has room for so many names

const Function make_folders{"_sj_folders",
                            "def _sj_folders(p):\n"
                            " import os\n"
                            " s=p.split('/')\n"
                            " for i in range(1,len(s)):\n"
                            "  try:os.mkdir('/'.join(s[:i]))\n"
                            "  except OSError:pass\n",
                            {"board_sync.cpp", 1},
                            Calls::rarely};

// Files below a folder.
const Function all_files{"_sj_all",
                         "def _sj_all(d):\n"
                         " import os\n"
                         " r=[]\n"
                         " try:\n"
                         "  for n in os.listdir(d or '.'):\n"
                         "   if os.stat(d+n)[0]&0x4000:r+=_sj_all(d+n+'/')\n"
                         "   else:r.append(d+n)\n"
                         " except OSError:pass\n"
                         " return r\n",
                         {"board_sync.cpp", 1},
                         Calls::rarely};

// "" or a folder with "/" at its end.
std::string prefix_of(std::string folder) {
  if (folder == "." || folder.empty()) return {};
  if (!folder.ends_with('/')) folder += '/';
  return folder == "/" ? std::string() : folder;
}

std::vector<std::string> texts_of(const Value& value) {
  const auto* list = std::get_if<List>(&value.is);
  if (list == nullptr) throw Error(ErrorCode::protocol_error, "the board did not list its files");
  std::vector<std::string> texts;
  for (const Value& item : list->items) {
    const auto* text = std::get_if<std::string>(&item.is);
    texts.push_back(text == nullptr ? "" : *text);
  }
  return texts;
}

// The paths of what the board does not hold like this.
Async<std::vector<std::string>> find_differing(BoardFiles& on_board, const FileTree& files, std::string prefix,
                                               Instant deadline) {
  std::vector<std::string> differing;
  for (auto next = files.begin(); next != files.end();) {
    std::vector<std::string> paths;
    const auto first = next;
    for (; next != files.end() && paths.size() < paths_at_once; ++next) paths.push_back(prefix + next->first);
    const std::vector<std::string> sums = co_await on_board.checksums(std::move(paths), deadline);
    auto sum = sums.begin();
    for (auto file = first; file != next; ++file, ++sum) {
      if (*sum != BoardFiles::checksum_of(file->second)) differing.push_back(file->first);
    }
  }
  co_return differing;
}

// On a board without folders, files whose names begin so.
Async<std::vector<std::string>> find_all(Board& board, bool has_folders, std::string prefix, Instant deadline) {
  if (has_folders) co_return texts_of(co_await board.call(all_files, {Value{prefix}}, deadline));
  const std::string code =
      fmt::format("[n for n in __import__('os').listdir() if n.startswith({})]", to_python({std::move(prefix)}));
  co_return texts_of(co_await board.eval(code, deadline));
}

}  // namespace

Async<SyncReport> sync_to_board(Board& board, FileTree files, std::string folder, Instant deadline,
                                SyncOptions options) {
  const std::string prefix = prefix_of(std::move(folder));
  BoardFiles on_board(board);
  SyncReport report;
  report.sent = co_await find_differing(on_board, files, prefix, deadline);
  report.kept = files.size() - report.sent.size();
  std::uint64_t total = 0;
  std::uint64_t done = 0;
  for (const std::string& path : report.sent) total += files.at(path).size();
  const bool has_folders = co_await board.eval("hasattr(__import__('os'),'mkdir')", deadline) == Value{true};
  std::set<std::string> folders;
  for (const std::string& path : report.sent) {
    if (options.on_progress) options.on_progress(path, done, total);
    const std::string whole = prefix + path;
    if (has_folders && whole.find('/') != whole.npos && folders.insert(whole.substr(0, whole.rfind('/'))).second) {
      co_await board.call(make_folders, {Value{whole}}, deadline);
    }
    co_await on_board.write(whole, files.at(path), deadline);
    done += files.at(path).size();
  }
  if (!options.remove_others) co_return report;
  for (const std::string& path : co_await find_all(board, has_folders, prefix, deadline)) {
    const std::string below = path.substr(std::min(path.size(), prefix.size()));
    if (files.contains(below)) continue;
    co_await on_board.remove(path, deadline);
    report.removed.push_back(below);
  }
  std::ranges::sort(report.removed);
  co_return report;
}

}  // namespace sojourn::device
