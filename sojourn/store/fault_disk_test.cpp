#include "sojourn/store/fault_disk_test.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t sector = 512;

// A change of a file that is not synced.
struct Change {
  bool truncate = false;
  std::size_t offset = 0;  // of a truncation: the new size
  std::string bytes;
  std::size_t size_after = 0;  // of the file
};

// A change of a folder that is not synced: nothing stands where there is no such name.
struct Renaming {
  std::string removed;
  std::string made;
  std::size_t inode = 0;
};

struct Inode {
  bool folder = false;
  bool scratch = false;  // shared memory of SQLite, which it makes anew after a crash
  std::string durable;
  std::size_t size = 0;
  std::vector<Change> changes;
  std::map<std::string, std::size_t> durable_names;
  std::map<std::string, std::size_t> names;
  std::vector<Renaming> renamings;
};

// Applies the part of `change` that lies in the sector from `begin` on.
void apply(const Change& change, std::size_t begin, std::string& content) {
  const std::size_t end = std::min(begin + sector, content.size());
  if (change.truncate) {
    const std::size_t from = std::max(begin, change.offset);
    if (from < end) std::fill(content.begin() + from, content.begin() + end, '\0');
    return;
  }
  const std::size_t from = std::max(begin, change.offset);
  const std::size_t to = std::min(end, change.offset + change.bytes.size());
  if (from < to) content.replace(from, to - from, change.bytes, from - change.offset, to - from);
}

bool touches(const Change& change, std::size_t begin) {
  if (change.truncate) return change.offset < begin + sector;
  return change.offset < begin + sector && begin < change.offset + change.bytes.size();
}

// How many of `count` unsynced changes reached the disk.
std::size_t survivors(std::size_t count, Loss loss, std::mt19937_64& random) {
  if (loss == Loss::all) return 0;
  if (loss == Loss::nothing) return count;
  return std::uniform_int_distribution<std::size_t>(0, count)(random);
}

// What is found of a file after a cut. Each sector is of one moment, which may be another one for each.
std::string content_after(const Inode& file, Loss loss, std::mt19937_64& random) {
  std::size_t longest = file.durable.size();
  for (const Change& change : file.changes) longest = std::max(longest, change.size_after);
  std::string content = file.durable;
  content.resize(longest);
  for (std::size_t begin = 0; begin < longest; begin += sector) {
    std::vector<const Change*> here;
    for (const Change& change : file.changes) {
      if (touches(change, begin)) here.push_back(&change);
    }
    here.resize(survivors(here.size(), loss, random));
    for (const Change* change : here) apply(*change, begin, content);
  }
  const std::size_t sized = survivors(file.changes.size(), loss, random);
  content.resize(sized == 0 ? file.durable.size() : file.changes[sized - 1].size_after);
  return content;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

struct FaultDisk::State {
  struct Place {
    std::size_t folder = 0;
    std::string name;
    std::string path;  // below the root
  };

  mutable std::recursive_mutex mutex;
  std::string root;
  std::vector<Inode> inodes{1};
  std::map<int, std::pair<std::size_t, std::string>> open_files;  // inode and path below the root
  std::vector<std::string> asked;
  std::uint64_t operations = 0;
  std::uint64_t cut_at = 0;
  Asked failing;
  std::uint64_t fail_after = 0;  // operations of the failing kinds, until the first one fails
  int error_number = 0;
  bool lasting = false;
  bool dead = false;
  bool met = false;

  void take_in(std::size_t folder, const fs::path& path) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
      const std::size_t number = add(folder, entry.path().filename(), entry.is_directory());
      if (entry.is_directory()) {
        take_in(number, entry.path());
      } else {
        inodes[number].durable = read_file(entry.path());
        inodes[number].size = inodes[number].durable.size();
      }
    }
    inodes[folder].durable_names = inodes[folder].names;
  }

  std::size_t add(std::size_t folder, const std::string& name, bool is_folder) {
    const std::size_t number = inodes.size();
    Inode& made = inodes.emplace_back();
    made.folder = is_folder;
    made.scratch = name.ends_with("-shm");
    inodes[folder].names[name] = number;
    return number;
  }

  // Where `path` is, if it lies in a folder that is watched.
  std::optional<Place> find(const char* path) const {
    const std::string_view text = path;
    if (text == root) return Place{0, "", "."};
    if (!text.starts_with(root) || text[root.size()] != '/') return std::nullopt;
    Place place{0, "", std::string(text.substr(root.size() + 1))};
    std::string_view rest = place.path;
    for (std::size_t slash = rest.find('/'); slash != std::string_view::npos; slash = rest.find('/')) {
      const auto& names = inodes[place.folder].names;
      const auto next = names.find(std::string(rest.substr(0, slash)));
      if (next == names.end()) return std::nullopt;
      place.folder = next->second;
      rest.remove_prefix(slash + 1);
    }
    place.name = rest;
    return place;
  }

  std::optional<std::size_t> inode_at(const Place& place) const {
    if (place.name.empty()) return place.folder;
    const auto found = inodes[place.folder].names.find(place.name);
    if (found == inodes[place.folder].names.end()) return std::nullopt;
    return found->second;
  }

  // What an operation is to do: 0, or the error that it must fail with. With the power cut in its midst it is
  // `half_done`: it fails, and yet may have reached the disk.
  int begin(bool Asked::* kind, const std::string& what, bool& half_done) {
    half_done = false;
    if (dead) return EIO;
    asked.push_back(what);
    if (++operations == cut_at) {
      dead = met = half_done = true;
      return EIO;
    }
    if (!(failing.*kind) || (!failing.what.empty() && failing.what != what)) return 0;
    if (fail_after == 0 || --fail_after > 0) return 0;
    met = true;
    if (lasting) fail_after = 1;
    return error_number;
  }

  void rename(std::size_t folder, Renaming renaming) {
    auto& names = inodes[folder].names;
    if (!renaming.removed.empty()) names.erase(renaming.removed);
    if (!renaming.made.empty()) names[renaming.made] = renaming.inode;
    inodes[folder].renamings.push_back(std::move(renaming));
  }

  void change(std::size_t number, Change change) {
    Inode& file = inodes[number];
    if (file.scratch) return;
    file.size = change.truncate ? change.offset : std::max(file.size, change.offset + change.bytes.size());
    change.size_after = file.size;
    file.changes.push_back(std::move(change));
  }

  void sync(std::size_t number) {
    Inode& synced = inodes[number];
    if (synced.folder) {
      synced.durable_names = synced.names;
      synced.renamings.clear();
    } else {
      for (const Change& change : synced.changes) {
        synced.durable.resize(change.size_after);
        synced.durable.replace(change.offset, change.bytes.size(), change.bytes);
      }
      synced.changes.clear();
    }
  }

  void restore(std::size_t folder, const fs::path& path, Loss loss, std::mt19937_64& random) const {
    std::map<std::string, std::size_t> names = inodes[folder].durable_names;
    for (const Renaming& renaming : inodes[folder].renamings) {
      if (survivors(1, loss, random) == 0) continue;
      if (!renaming.removed.empty()) names.erase(renaming.removed);
      if (!renaming.made.empty()) names[renaming.made] = renaming.inode;
    }
    for (const auto& [name, number] : names) {
      const Inode& inode = inodes[number];
      if (inode.scratch) continue;
      if (inode.folder) {
        fs::create_directory(path / name);
        restore(number, path / name, loss, random);
      } else {
        std::ofstream(path / name, std::ios::binary) << content_after(inode, loss, random);
      }
    }
  }
};

namespace {

std::atomic<FaultDisk::State*> watching = nullptr;

long refuse(int error_number) {
  errno = error_number;
  return -1;
}

long watched_open(const char* path, int flags, unsigned mode) {
  const auto open = [&] { return ::syscall(SYS_openat, AT_FDCWD, path, flags, mode); };
  FaultDisk::State* disk = watching;
  if (disk == nullptr) return open();
  const std::lock_guard lock(disk->mutex);
  const auto place = disk->find(path);
  if (!place) return open();
  const std::optional<std::size_t> before = disk->inode_at(*place);
  const bool makes = !before && (flags & O_CREAT) != 0;
  bool half_done = false;
  const int error_number =
      disk->begin(makes ? &Asked::name : &Asked::open, (makes ? "make " : "open ") + place->path, half_done);
  if (error_number != 0 && !(half_done && makes)) return refuse(error_number);
  const long file = error_number == 0 ? open() : refuse(error_number);
  if (file < 0 && !half_done) return file;
  const std::size_t inode = makes ? disk->add(place->folder, place->name, false) : before.value_or(0);
  if (makes) disk->rename(place->folder, {"", place->name, inode});
  if (!makes && (flags & O_TRUNC) != 0) disk->change(inode, {.truncate = true});
  if (file >= 0) disk->open_files[static_cast<int>(file)] = {inode, place->path};
  return file < 0 ? refuse(EIO) : file;
}

// Does what `call` asks of an open file, unless the disk refuses, and notes it with `note`.
template <class Call, class Note>
long watched_file(int file, bool Asked::* kind, const char* verb, Call call, Note note) {
  FaultDisk::State* disk = watching;
  if (disk == nullptr) return call();
  const std::lock_guard lock(disk->mutex);
  const auto place = disk->open_files.find(file);
  if (place == disk->open_files.end()) return call();
  const auto& [inode, path] = place->second;
  bool half_done = false;
  const int error_number = disk->begin(kind, verb + (" " + path), half_done);
  const long result = error_number == 0 ? call() : -1;
  if (half_done || result >= 0) note(*disk, inode, result);
  return error_number == 0 ? result : refuse(error_number);
}

long watched_write(int file, const void* bytes, std::size_t size, std::int64_t offset) {
  const bool appends = offset < 0;
  return watched_file(
      file, &Asked::write, "write",
      [&] {
        return appends ? ::syscall(SYS_write, file, bytes, size) : ::syscall(SYS_pwrite64, file, bytes, size, offset);
      },
      [&](FaultDisk::State& disk, std::size_t inode, long written) {
        const std::size_t at = appends ? disk.inodes[inode].size : static_cast<std::size_t>(offset);
        const std::size_t count = written < 0 ? size : static_cast<std::size_t>(written);
        disk.change(inode, {.offset = at, .bytes = std::string(static_cast<const char*>(bytes), count)});
      });
}

long watched_truncate(int file, std::int64_t size) {
  return watched_file(
      file, &Asked::write, "truncate", [&] { return ::syscall(SYS_ftruncate, file, size); },
      [&](FaultDisk::State& disk, std::size_t inode, long) {
        disk.change(inode, {.truncate = true, .offset = static_cast<std::size_t>(size)});
      });
}

long watched_sync(int file) {
  // Nothing of a test is wanted after a true power cut.
  FaultDisk::State* disk = watching;
  if (disk == nullptr) return 0;
  const std::lock_guard lock(disk->mutex);
  const auto place = disk->open_files.find(file);
  if (place == disk->open_files.end()) return 0;
  const auto& [inode, path] = place->second;
  bool half_done = false;
  const int error_number = disk->begin(&Asked::sync, "sync " + path, half_done);
  if (error_number == 0) {
    disk->sync(inode);
    return 0;
  }
  // What could not be written counts as written, and no later sync tries again.
  if (!half_done && !disk->dead) {
    for (Change& change : disk->inodes[inode].changes) change.bytes.clear();
  }
  return refuse(error_number);
}

long watched_close(int file) {
  FaultDisk::State* disk = watching;
  if (disk != nullptr) {
    const std::lock_guard lock(disk->mutex);
    disk->open_files.erase(file);
    return ::syscall(SYS_close, file);
  }
  return ::syscall(SYS_close, file);
}

// Does what `call` asks of the name `path`, and notes it with `note`.
template <class Call, class Note>
long watched_name(const char* path, const char* verb, Call call, Note note) {
  FaultDisk::State* disk = watching;
  if (disk == nullptr) return call();
  const std::lock_guard lock(disk->mutex);
  const auto place = disk->find(path);
  if (!place) return call();
  bool half_done = false;
  const int error_number = disk->begin(&Asked::name, verb + (" " + place->path), half_done);
  const long result = error_number == 0 ? call() : -1;
  if (half_done || result >= 0) note(*disk, *place);
  return error_number == 0 ? result : refuse(error_number);
}

long watched_mkdir(const char* path, unsigned mode) {
  // Making what is there already asks nothing of the disk.
  struct ::stat there{};
  if (::stat(path, &there) == 0) return refuse(EEXIST);
  return watched_name(
      path, "make", [&] { return ::syscall(SYS_mkdir, path, mode); },
      [](FaultDisk::State& disk, const FaultDisk::State::Place& place) {
        disk.rename(place.folder, {"", place.name, disk.add(place.folder, place.name, true)});
      });
}

long watched_unlink(const char* path) {
  return watched_name(
      path, "remove", [&] { return ::syscall(SYS_unlink, path); },
      [](FaultDisk::State& disk, const FaultDisk::State::Place& place) {
        if (disk.inode_at(place)) disk.rename(place.folder, {place.name, "", 0});
      });
}

// Within one folder, which is all that the store needs.
long watched_rename(const char* from, const char* to) {
  return watched_name(
      from, "rename", [&] { return ::syscall(SYS_rename, from, to); },
      [&](FaultDisk::State& disk, const FaultDisk::State::Place& place) {
        const auto inode = disk.inode_at(place);
        if (inode) disk.rename(place.folder, {place.name, fs::path(to).filename(), *inode});
      });
}

}  // namespace

FaultDisk::FaultDisk(const fs::path& root) : state_(std::make_unique<State>()) {
  state_->root = fs::canonical(root);
  state_->inodes[0].folder = true;
  state_->take_in(0, root);
  watching = state_.get();
}

FaultDisk::~FaultDisk() {
  watching = nullptr;
}

void FaultDisk::cut_power_at(std::uint64_t nth) {
  mend();
  const std::lock_guard lock(state_->mutex);
  state_->cut_at = nth;
}

void FaultDisk::fail_at(Asked kinds, std::uint64_t nth, int error_number, bool lasting) {
  mend();
  const std::lock_guard lock(state_->mutex);
  state_->failing = kinds;
  state_->fail_after = nth;
  state_->error_number = error_number;
  state_->lasting = lasting;
}

void FaultDisk::mend() {
  const std::lock_guard lock(state_->mutex);
  state_->operations = state_->cut_at = state_->fail_after = 0;
  state_->failing = {};
  state_->dead = state_->met = false;
}

bool FaultDisk::met() const {
  const std::lock_guard lock(state_->mutex);
  return state_->met;
}

std::uint64_t FaultDisk::operations() const {
  const std::lock_guard lock(state_->mutex);
  return state_->operations;
}

std::vector<std::string> FaultDisk::asked() const {
  const std::lock_guard lock(state_->mutex);
  return state_->asked;
}

void FaultDisk::restore(const fs::path& folder, Loss loss, std::uint64_t seed) const {
  const std::lock_guard lock(state_->mutex);
  std::mt19937_64 random(seed);
  state_->restore(0, folder, loss, random);
}

}  // namespace sojourn::store

// What stands before libc's functions of the same names in the test program, also for SQLite and libstdc++.
extern "C" {

int open(const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const unsigned mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return static_cast<int>(sojourn::store::watched_open(path, flags, mode));
}

int open64(const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const unsigned mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return static_cast<int>(sojourn::store::watched_open(path, flags, mode));
}

ssize_t write(int file, const void* bytes, size_t size) {
  return sojourn::store::watched_write(file, bytes, size, -1);
}

ssize_t pwrite64(int file, const void* bytes, size_t size, off64_t offset) {
  return sojourn::store::watched_write(file, bytes, size, offset);
}

int ftruncate64(int file, off64_t size) noexcept {
  return static_cast<int>(sojourn::store::watched_truncate(file, size));
}

int fsync(int file) {
  return static_cast<int>(sojourn::store::watched_sync(file));
}

int fdatasync(int file) {
  return static_cast<int>(sojourn::store::watched_sync(file));
}

int close(int file) {
  return static_cast<int>(sojourn::store::watched_close(file));
}

int mkdir(const char* path, mode_t mode) noexcept {
  return static_cast<int>(sojourn::store::watched_mkdir(path, mode));
}

int unlink(const char* path) noexcept {
  return static_cast<int>(sojourn::store::watched_unlink(path));
}

int rename(const char* from, const char* to) noexcept {
  return static_cast<int>(sojourn::store::watched_rename(from, to));
}
}
