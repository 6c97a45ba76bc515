#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <istream>
#include <iterator>
#include <ostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/device/board_sync.hpp"
#include "sojourn/device/usb_ports.hpp"

namespace sojourn::cli {

namespace {

using device::Board;
using device::BoardFiles;

std::string read_all(std::istream& in, const std::string& name) {
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) throw Error(ErrorCode::config_invalid, fmt::format("{} cannot be read", name));
  return text;
}

std::string read_file(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  if (!file || std::filesystem::is_directory(name)) {
    throw Error(ErrorCode::config_invalid, fmt::format("there is no file {} that can be read", name));
  }
  return read_all(file, name);
}

// Whatever is below `folder`; links to folders are not followed.
device::FileTree read_tree(const std::string& folder) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(folder)) {
    throw Error(ErrorCode::config_invalid, fmt::format("there is no folder {}", folder));
  }
  device::FileTree files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files.emplace(entry.path().lexically_relative(folder).generic_string(), read_file(entry.path().string()));
  }
  return files;
}

void write_file(const std::string& name, std::string_view data) {
  std::ofstream file(name, std::ios::binary | std::ios::trunc);
  file << data;
  file.close();
  if (!file) throw Error(ErrorCode::io_error, fmt::format("{} cannot be written", name));
}

// Runs `work` on the board, and closes it whatever happens. `work` gives back what is to be printed.
template <class F>
Async<Json> drive(Board& board, F work, Instant deadline) {
  std::exception_ptr failure;
  Json result;
  try {
    result = co_await work(board, deadline);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await board.close();
  if (failure) std::rethrow_exception(failure);
  co_return result;
}

template <class F>
Json with_board(const BoardOptions& options, F work) {
  Loop loop;
  SystemClock clock;
  SystemRandom random;
  Board board(loop.executor(), clock, random, device::parse_address(options.address));
  Json result;
  struct Run {
    static Async<void> run(Board& on, F what, Instant deadline, Json& answer) {
      answer = co_await drive(on, std::move(what), deadline);
    }
  };
  loop.run(Run::run(board, std::move(work), clock.instant() + Seconds(options.timeout), result));
  return result;
}

Async<Json> info(Board& board, Instant deadline) {
  co_return Json(to_json(co_await board.capabilities(deadline)));
}

struct Execution {
  std::string code;
  device::SourcePlace place;
  std::function<void(std::string_view)> on_output;

  Async<Json> operator()(Board& board, Instant deadline) const {
    std::string output = co_await board.exec(code, deadline, {.place = place, .on_output = on_output});
    co_return JsonObject{{"output", to_valid_utf8(output)}};
  }
};

struct Listing {
  std::string folder;

  Async<Json> operator()(Board& board, Instant deadline) const {
    JsonArray rows;
    for (const auto& file : co_await BoardFiles(board).list(folder, deadline)) {
      rows.push_back(JsonObject{{"name", to_valid_utf8(file.name)}, {"size", file.size}, {"folder", file.is_folder}});
    }
    co_return rows;
  }
};

struct Putting {
  std::string path;
  std::string data;

  Async<Json> operator()(Board& board, Instant deadline) const {
    co_await BoardFiles(board).write(path, data, deadline);
    co_return nullptr;
  }
};

struct Getting {
  std::string path;
  std::string& data;

  Async<Json> operator()(Board& board, Instant deadline) const {
    data = co_await BoardFiles(board).read(path, deadline);
    co_return nullptr;
  }
};

struct Removal {
  std::string path;

  Async<Json> operator()(Board& board, Instant deadline) const {
    co_await BoardFiles(board).remove(path, deadline);
    co_return nullptr;
  }
};

struct Syncing {
  device::FileTree files;
  std::string folder;
  device::SyncOptions options;

  Async<Json> operator()(Board& board, Instant deadline) const {
    const device::SyncReport report = co_await device::sync_to_board(board, files, folder, deadline, options);
    JsonObject result{{"sent", JsonArray()}, {"removed", JsonArray()}, {"kept", report.kept}};
    for (const std::string& path : report.sent) result["sent"].as_array().push_back(to_valid_utf8(path).c_str());
    for (const std::string& path : report.removed)
      result["removed"].as_array().push_back(to_valid_utf8(path).c_str());
    co_return result;
  }
};

struct Reset {
  bool hard;

  Async<Json> operator()(Board& board, Instant deadline) const {
    if (hard) {
      co_await board.restart(deadline);
    } else {
      co_await board.soft_reset(deadline);
    }
    co_return nullptr;
  }
};

ExitCode copied(Console& console, const std::string& path, const std::string& file, std::size_t bytes) {
  if (console.json) print_json(console, JsonObject{{"path", path}, {"file", file}, {"bytes", bytes}});
  return ExitCode::ok;
}

}  // namespace

ExitCode show_board(const BoardOptions& options, Console& console) {
  const Json found = with_board(options, info);
  if (console.json) {
    print_json(console, found);
    return ExitCode::ok;
  }
  Table table({"", ""});
  for (const auto& [name, value] : found.as_object()) {
    table.add({{printable(name)}, {printable(value.is_string() ? std::string(value.as_string()) : to_text(value))}});
  }
  table.print(console);
  return ExitCode::ok;
}

ExitCode run_on_board(const BoardOptions& options, Console& console) {
  Execution execution{.code = options.code, .place = {"<code>", 1}};
  if (options.code == "@-") {
    execution.code = read_all(console.in, "standard input");
    execution.place.file = "<stdin>";
  } else if (options.code.starts_with('@')) {
    execution.place.file = options.code.substr(1);
    execution.code = read_file(execution.place.file);
  }
  if (!console.json) {
    execution.on_output = [&](std::string_view text) { console.out << printable(text, true) << std::flush; };
  }
  const Json result = with_board(options, execution);
  if (console.json) print_json(console, result);
  return ExitCode::ok;
}

ExitCode list_board_files(const BoardOptions& options, Console& console) {
  const Json rows = with_board(options, Listing{options.path.empty() ? "." : options.path});
  if (console.json) {
    print_json(console, rows);
    return ExitCode::ok;
  }
  Table table({"SIZE", "NAME"});
  for (const Json& row : rows.as_array()) {
    const bool folder = row.at("folder").as_bool();
    table.add({{folder ? "" : to_text(row.at("size"))},
               {printable(std::string(row.at("name").as_string())) + (folder ? "/" : "")}});
  }
  table.print(console);
  return ExitCode::ok;
}

ExitCode put_on_board(const BoardOptions& options, Console& console) {
  const std::string data = read_file(options.file);
  const std::string path =
      options.path.empty() ? std::filesystem::path(options.file).filename().string() : options.path;
  with_board(options, Putting{path, data});
  return copied(console, path, options.file, data.size());
}

ExitCode get_from_board(const BoardOptions& options, Console& console) {
  const std::string file =
      options.file.empty() ? std::filesystem::path(options.path).filename().string() : options.file;
  std::string data;
  with_board(options, Getting{options.path, data});
  write_file(file, data);
  return copied(console, options.path, file, data.size());
}

ExitCode remove_from_board(const BoardOptions& options, Console& console) {
  with_board(options, Removal{options.path});
  if (console.json) print_json(console, JsonObject{{"path", options.path}});
  return ExitCode::ok;
}

ExitCode sync_board(const BoardOptions& options, Console& console) {
  device::SyncOptions how{.remove_others = options.others};
  if (!console.json) {
    how.on_progress = [&](const std::string& path, std::uint64_t done, std::uint64_t total) {
      console.err << fmt::format("{} ({} of {} bytes sent)\n", printable(path), done, total);
    };
  }
  const Json result =
      with_board(options, Syncing{read_tree(options.file), options.path.empty() ? "." : options.path, how});
  if (console.json) {
    print_json(console, result);
  } else {
    console.out << fmt::format("{} sent, {} removed, {} as they were\n", result.at("sent").as_array().size(),
                               result.at("removed").as_array().size(), to_text(result.at("kept")));
  }
  return ExitCode::ok;
}

ExitCode list_boards(Console& console) {
  JsonArray rows;
  Table table({"ADDRESS", "PORT", "NAME"});
  for (const device::UsbPort& port : device::find_usb_ports()) {
    const std::string address =
        to_string(device::Address(device::UsbAddress{port.vendor, port.product, port.serial}));
    rows.push_back(
        JsonObject{{"address", to_valid_utf8(address)}, {"port", port.path}, {"name", to_valid_utf8(port.name)}});
    table.add({{printable(address)}, {printable(port.path)}, {printable(port.name)}});
  }
  if (console.json) {
    print_json(console, rows);
  } else if (rows.empty()) {
    console.out << "no serial port on USB\n";
  } else {
    table.print(console);
  }
  return ExitCode::ok;
}

ExitCode reset_board(const BoardOptions& options, Console& console) {
  with_board(options, Reset{options.hard});
  if (console.json) print_json(console, JsonObject{{"reset", options.hard ? "hard" : "soft"}});
  return ExitCode::ok;
}

}  // namespace sojourn::cli
