#include "sojourn/device/board_files.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/device/checked_code.hpp"

namespace sojourn::device {

namespace {

constexpr Milliseconds removal_time(5000);  // for what a failed write left behind

const Function open_file{"_sj_open",
                         "def _sj_open(p,m):\n"
                         " global _sj_file\n"
                         " _sj_file=open(p,m)\n",
                         {"board_files.cpp", 1}};

const Function file_checksum{"_sj_sum",
                             "def _sj_sum(p):\n"
                             " s=0;n=0\n"
                             " f=open(p,'rb')\n"
                             " while True:\n"
                             "  b=f.read(32)\n"
                             "  if not b:break\n"
                             "  n+=len(b);s=(s*65599+int.from_bytes(b,'little'))%999999937\n"
                             " f.close()\n"
                             " return '%d-%d'%(n,s)\n",
                             {"board_files.cpp", 1}};

// A micro:bit has os.size, and no folders, in place of os.stat.
const Function stat_file{"_sj_stat",
                         "def _sj_stat(p):\n"
                         " import os\n"
                         " try:\n"
                         "  if not hasattr(os,'stat'):return (os.size(p),False)\n"
                         "  s=os.stat(p)\n"
                         "  return (s[6],s[0]&0x4000!=0)\n"
                         " except OSError:return None\n",
                         {"board_files.cpp", 1}};

const Function list_files{"_sj_list",
                          "def _sj_list(p):\n"
                          " import os\n"
                          " r=[]\n"
                          " for n in os.listdir(p) if hasattr(os,'stat') else os.listdir():\n"
                          "  if hasattr(os,'stat'):\n"
                          "   s=os.stat(p.rstrip('/')+'/'+n)\n"
                          "   r.append((n,s[6],s[0]&0x4000!=0))\n"
                          "  else:r.append((n,os.size(n),False))\n"
                          " return r\n",
                          {"board_files.cpp", 1}};

const Function remove_file{"_sj_remove",
                           "def _sj_remove(p):\n"
                           " import os\n"
                           " if hasattr(os,'stat') and os.stat(p)[0]&0x4000:os.rmdir(p)\n"
                           " else:os.remove(p)\n",
                           {"board_files.cpp", 1}};

[[noreturn]] void unexpected(const Value& value) {
  throw Error(ErrorCode::protocol_error,
              fmt::format("the board answered a question about its files with {}", to_valid_utf8(to_python(value))));
}

std::uint64_t size_of(const Value& value) {
  const auto* number = std::get_if<std::int64_t>(&value.is);
  if (number == nullptr || *number < 0) unexpected(value);
  return static_cast<std::uint64_t>(*number);
}

bool flag_of(const Value& value) {
  const auto* flag = std::get_if<bool>(&value.is);
  if (flag == nullptr) unexpected(value);
  return *flag;
}

}  // namespace

Async<Value> BoardFiles::ask(const Function& function, std::vector<std::string> texts, Instant deadline) {
  std::vector<Value> arguments;
  for (std::string& text : texts) arguments.push_back({std::move(text)});
  co_return co_await board_.call(function, std::move(arguments), deadline);
}

void BoardFiles::tell(std::uint64_t done, std::uint64_t total) const {
  if (options_.on_progress) options_.on_progress(done, total);
}

Async<void> BoardFiles::write(std::string path, std::string data, Instant deadline) {
  std::exception_ptr failure;
  try {
    co_await ask(open_file, {path, "wb"}, deadline);
    co_await write_chunks(path, data, deadline);
    co_return;
  } catch (const Error&) {
    failure = std::current_exception();
  }
  co_await drop_half_written(std::move(path));
  std::rethrow_exception(failure);
}

Async<void> BoardFiles::write_chunks(const std::string& path, std::string_view data, Instant deadline) {
  const std::string_view all = data;
  for (tell(0, all.size()); !data.empty(); tell(all.size() - data.size(), all.size())) {
    const std::string_view piece = data.substr(0, options_.chunk);
    const Value written = co_await board_.eval(fmt::format("_sj_file.write({})", bytes_literal(piece)), deadline);
    if (size_of(written) != piece.size())
      throw Error(ErrorCode::protocol_error, path + ": the board has no room left");
    data.remove_prefix(piece.size());
  }
  co_await board_.eval("_sj_file.close()", deadline);
  const std::string found = co_await checksum(path, deadline);
  if (found != checksum_of(all)) {
    throw Error(ErrorCode::protocol_error, fmt::format("{}: the board does not hold what was written", path));
  }
}

// Whatever hinders it is told by the failure that made it necessary.
Async<void> BoardFiles::drop_half_written(std::string path) {
  try {
    const Instant deadline = board_.link().in(removal_time);
    co_await board_.exec("try:_sj_file.close()\nexcept Exception:pass", deadline);
    co_await remove(std::move(path), deadline);
  } catch (const Error&) {
  }
}

Async<std::string> BoardFiles::read(std::string path, Instant deadline) {
  co_await ask(open_file, {path, "rb"}, deadline);
  std::string data;
  for (;;) {
    const Value piece = co_await board_.eval(fmt::format("_sj_file.read({})", options_.chunk), deadline);
    const auto* bytes = std::get_if<Bytes>(&piece.is);
    if (bytes == nullptr) unexpected(piece);
    if (bytes->data.empty()) break;
    data += bytes->data;
    tell(data.size(), 0);
  }
  co_await board_.eval("_sj_file.close()", deadline);
  const std::string found = co_await checksum(path, deadline);
  if (found != checksum_of(data)) {
    throw Error(ErrorCode::protocol_error, fmt::format("{}: what was read is not what the board holds", path));
  }
  co_return data;
}

Async<std::vector<BoardFile>> BoardFiles::list(std::string folder, Instant deadline) {
  const Value answer = co_await ask(list_files, {std::move(folder)}, deadline);
  const auto* rows = std::get_if<List>(&answer.is);
  if (rows == nullptr) unexpected(answer);
  std::vector<BoardFile> files;
  for (const Value& row : rows->items) {
    const auto* cells = std::get_if<Tuple>(&row.is);
    const auto* name =
        cells != nullptr && cells->items.size() == 3 ? std::get_if<std::string>(&cells->items[0].is) : nullptr;
    if (name == nullptr) unexpected(row);
    files.push_back({*name, size_of(cells->items[1]), flag_of(cells->items[2])});
  }
  std::ranges::sort(files, {}, &BoardFile::name);
  co_return files;
}

Async<std::optional<BoardFile>> BoardFiles::stat(std::string path, Instant deadline) {
  const Value answer = co_await ask(stat_file, {path}, deadline);
  if (std::holds_alternative<None>(answer.is)) co_return std::nullopt;
  const auto* cells = std::get_if<Tuple>(&answer.is);
  if (cells == nullptr || cells->items.size() != 2) unexpected(answer);
  co_return BoardFile{std::move(path), size_of(cells->items[0]), flag_of(cells->items[1])};
}

Async<void> BoardFiles::remove(std::string path, Instant deadline) {
  co_await ask(remove_file, {std::move(path)}, deadline);
}

Async<void> BoardFiles::make_folder(std::string path, Instant deadline) {
  co_await board_.exec(fmt::format("import os\nos.mkdir({})", to_python({std::move(path)})), deadline);
}

Async<std::string> BoardFiles::checksum(std::string path, Instant deadline) {
  const Value answer = co_await ask(file_checksum, {std::move(path)}, deadline);
  const auto* text = std::get_if<std::string>(&answer.is);
  if (text == nullptr) unexpected(answer);
  co_return *text;
}

std::string BoardFiles::checksum_of(std::string_view data) {
  return fmt::format("{}-{}", data.size(), guard_hash(0, data));
}

}  // namespace sojourn::device
