#include "sojourn/device/board_files.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/signature.hpp"
#include "sojourn/device/checked_code.hpp"

namespace sojourn::device {

namespace {

constexpr Milliseconds removal_time(5000);  // for what a failed write left behind

// Bytes written or read at once: the code for a byte is at most four bytes, and takes up the heap three times.
constexpr std::size_t smallest_chunk = 64;
constexpr std::size_t largest_chunk = 2048;   // goes in one burst in base64
constexpr std::size_t largest_literal = 960;  // and this where each byte may be four
constexpr std::size_t heap_for_a_byte = 32;
constexpr std::uint64_t heap_for_base64 = 32 * 1024;  // boards with less lack binascii, or the room for it

// Small ones each, for a micro:bit's heap. One file is open at a time.
const Function open_file{"_sj_open",
                         "def _sj_open(p,m):\n"
                         " global _sj_file\n"
                         " _sj_file=open(p,m)\n",
                         {"board_files.cpp", 1},
                         Calls::rarely};

const Function write_bytes{
    "_sj_write", "_sj_write=lambda b:_sj_file.write(b)\n", {"board_files.cpp", 1}, Calls::with_bytes};

const Function write_base64{"_sj_base64",
                            "def _sj_base64(b):\n"
                            " from binascii import a2b_base64\n"
                            " return _sj_file.write(a2b_base64(b))\n",
                            {"board_files.cpp", 1},
                            Calls::with_bytes};

// Of what the board holds, read anew; "" where that cannot be read.
const Function file_sum{"_sj_sum",
                        "def _sj_sum(p):\n"
                        " s=n=0\n"
                        " try:f=open(p,'rb')\n"
                        " except OSError:return ''\n"
                        " while True:\n"
                        "  b=f.read(128)\n"
                        "  if not b:break\n"
                        "  n+=len(b);s=(s*65599+int.from_bytes(b,'little'))%999999937\n"
                        " f.close()\n"
                        " return '%d-%d'%(n,s)\n",
                        {"board_files.cpp", 1},
                        Calls::rarely};

// A micro:bit has os.size, and no folders, in place of os.stat.
const Function stat_file{"_sj_stat",
                         "def _sj_stat(p):\n"
                         " import os\n"
                         " try:\n"
                         "  if not hasattr(os,'stat'):return (os.size(p),False)\n"
                         "  s=os.stat(p)\n"
                         "  return (s[6],s[0]&0x4000!=0)\n"
                         " except OSError:return None\n",
                         {"board_files.cpp", 1},
                         Calls::rarely};

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
                          {"board_files.cpp", 1},
                          Calls::rarely};

const Function remove_file{"_sj_remove",
                           "def _sj_remove(p):\n"
                           " import os\n"
                           " if hasattr(os,'stat') and os.stat(p)[0]&0x4000:os.rmdir(p)\n"
                           " else:os.remove(p)\n",
                           {"board_files.cpp", 1},
                           Calls::rarely};

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

bool is_full_heap(const Error& error) {
  const Json* kind = error.details().if_contains("class");
  return error.code() == ErrorCode::app_error && kind != nullptr && *kind == Json("memory");
}

// Whether the same may be tried again with a smaller chunk.
bool may_take_less(const Error& error, std::size_t chunk) {
  return chunk > smallest_chunk && is_full_heap(error);
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

// Asked each time, after the garbage was collected: it helps what comes next as well.
Async<std::uint64_t> BoardFiles::free_heap(Instant deadline) {
  co_return size_of(co_await board_.eval("(lambda g:(g.collect(),g.mem_free())[1])(__import__('gc'))", deadline));
}

Async<bool> BoardFiles::has_base64(Instant deadline) {
  try {
    co_await board_.eval("__import__('binascii').a2b_base64", deadline);
    co_return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::app_error) throw;
  }
  co_return false;
}

std::size_t BoardFiles::chunk(std::uint64_t heap) const {
  if (options_.chunk != 0) return options_.chunk;
  return std::clamp<std::size_t>(heap / heap_for_a_byte, smallest_chunk, largest_chunk);
}

Async<void> BoardFiles::write(std::string path, std::string data, Instant deadline) {
  std::optional<Error> failure;
  try {
    const std::size_t start = options_.resume ? co_await find_start(path, data, deadline) : 0;
    if (start == 0) co_await ask(open_file, {path, "wb"}, deadline);
    co_await write_chunks(path, data, start, deadline);
    co_return;
  } catch (const Error& error) {
    failure = error;
  }
  // What the board itself refused will not be better the next time.
  const bool may_go_on =
      options_.resume && failure->code() != ErrorCode::app_error && failure->code() != ErrorCode::protocol_error;
  if (!may_go_on) co_await drop_half_written(std::move(path));
  throw *failure;
}

// How much of `data` the board holds already; the file is open for the rest then. 0 where it begins anew.
Async<std::size_t> BoardFiles::find_start(const std::string& path, const std::string& data, Instant deadline) {
  co_await board_.exec("try:_sj_file.close()\nexcept Exception:pass", deadline);
  const std::optional<BoardFile> there = co_await stat(path, deadline);
  if (!there || there->is_folder || there->size == 0 || there->size >= data.size()) co_return 0;
  if (co_await checksum(path, deadline) != checksum_of(std::string_view(data).substr(0, there->size))) co_return 0;
  try {
    co_await ask(open_file, {path, "ab"}, deadline);
    co_return there->size;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::app_error) throw;
  }
  co_return 0;  // a board that cannot append
}

// What the board answered; nothing where its heap had no room to take the piece, which it may have for a smaller one.
Async<std::optional<Value>> BoardFiles::write_piece(bool in_base64, std::string_view piece, Instant deadline) {
  try {
    co_return co_await board_.apply(in_base64 ? write_base64 : write_bytes,
                                    in_base64 ? to_base64(piece) : std::string(piece), deadline);
  } catch (const Error& error) {
    if (!may_take_less(error, piece.size()) || !error.details().contains("begun")) throw;
  }
  co_return std::nullopt;
}

Async<void> BoardFiles::write_chunks(const std::string& path, std::string_view all, std::size_t start,
                                     Instant deadline) {
  const std::uint64_t heap = co_await free_heap(deadline);
  std::size_t size = chunk(heap);
  const bool is_dense = bytes_literal(all).size() <= all.size() / 3 * 4;
  const bool in_base64 = !is_dense && heap >= heap_for_base64 && co_await has_base64(deadline);
  if (!in_base64 && !is_dense) size = std::min(size, largest_literal);
  co_await board_.deploy(in_base64 ? write_base64 : write_bytes, deadline);
  std::string_view data = all.substr(start);
  for (tell(start, all.size()); !data.empty(); tell(all.size() - data.size(), all.size())) {
    const std::string_view piece = data.substr(0, size);
    const auto written = co_await write_piece(in_base64, piece, deadline);
    if (!written) {
      size /= 2;
      continue;
    }
    if (size_of(*written) != piece.size())
      throw Error(ErrorCode::protocol_error, path + ": the board has no room left");
    data.remove_prefix(piece.size());
  }
  co_await board_.eval("_sj_file.close()", deadline);
  if (co_await checksum(path, deadline) != checksum_of(all)) {
    throw Error(ErrorCode::protocol_error, fmt::format("{}: the board does not hold what was written", path));
  }
}

Async<void> BoardFiles::drop_half_written(std::string path) {
  try {
    const Instant deadline = board_.link().in(removal_time);
    co_await board_.exec("try:_sj_file.close()\nexcept Exception:pass", deadline);
    co_await remove(std::move(path), deadline);
  } catch (const Error&) {
    // Whatever hinders it is told by the failure that made it necessary.
  }
}

Async<std::string> BoardFiles::read(std::string path, Instant deadline) {
  std::size_t size = std::max(smallest_chunk, chunk(co_await free_heap(deadline)) / 2);
  std::optional<std::string> data;
  while (!(data = co_await read_chunks(path, size, deadline))) size /= 2;
  co_await board_.eval("_sj_file.close()", deadline);
  if (co_await checksum(path, deadline) != checksum_of(*data)) {
    throw Error(ErrorCode::protocol_error, fmt::format("{}: what was read is not what the board holds", path));
  }
  co_return std::move(*data);
}

// Nothing where the board's heap had no room for so much at once: some of it was read for nothing then.
Async<std::optional<std::string>> BoardFiles::read_chunks(const std::string& path, std::size_t chunk,
                                                          Instant deadline) {
  co_await ask(open_file, {path, "rb"}, deadline);
  const std::string next = fmt::format("_sj_file.read({})", chunk);
  std::string data;
  try {
    for (;;) {
      const Value piece = co_await board_.eval(next, deadline);
      const auto* bytes = std::get_if<Bytes>(&piece.is);
      if (bytes == nullptr) unexpected(piece);
      if (bytes->data.empty()) co_return data;
      data += bytes->data;
      tell(data.size(), 0);
    }
  } catch (const Error& error) {
    if (!may_take_less(error, chunk)) throw;
  }
  co_return std::nullopt;
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
  const Value answer = co_await ask(file_sum, {path}, deadline);
  const auto* text = std::get_if<std::string>(&answer.is);
  if (text == nullptr) unexpected(answer);
  co_return *text;
}

Async<std::vector<std::string>> BoardFiles::checksums(std::vector<std::string> paths, Instant deadline) {
  co_await board_.deploy(file_sum, deadline);
  List list;
  for (std::string& path : paths) list.items.push_back({std::move(path)});
  const std::string code = fmt::format("[_sj_sum(p) for p in {}]", to_python({std::move(list)}));
  const Value answer = co_await board_.eval(code, deadline);
  const auto* sums = std::get_if<List>(&answer.is);
  if (sums == nullptr || sums->items.size() != paths.size()) unexpected(answer);
  std::vector<std::string> texts;
  for (const Value& sum : sums->items) {
    const auto* text = std::get_if<std::string>(&sum.is);
    if (text == nullptr) unexpected(sum);
    texts.push_back(*text);
  }
  co_return texts;
}

std::string BoardFiles::checksum_of(std::string_view data) {
  return fmt::format("{}-{}", data.size(), content_hash(data));
}

}  // namespace sojourn::device
