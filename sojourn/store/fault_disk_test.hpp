#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

// A disk for tests: of a folder it knows what would survive a power cut, and it can refuse what it is asked.
//
// The test program's own open, write, fsync, rename and so on stand before libc's (fault_disk_test.cpp), so that
// SQLite and the store's own code are watched in what they truly ask of the system, without a seam. What was written
// is on the disk once its file was synced, and a name once its folder was; until then each sector and each name may
// be as it is, as it was, or anything between.
namespace sojourn::store {

// What unsynced bytes and names become when the power goes.
enum class Loss {
  all,      // none of them is there
  nothing,  // all are there, as after kill -9
  some,     // each sector and each name as chance has it: dropped, torn, in another order
};

// Kinds of what is asked of a disk.
struct Asked {
  bool open = false;
  bool write = false;  // also truncate
  bool sync = false;
  bool name = false;  // make, rename or remove a file or folder
  std::string what;   // as in FaultDisk::asked(), to mean no other; "" for any
};

class FaultDisk {
 public:
  inline static const Asked anything{.open = true, .write = true, .sync = true, .name = true};

  // Watches what lies below `root` while it lives; what is there already is on the disk.
  // Threads: safe. One at a time in a program.
  explicit FaultDisk(const std::filesystem::path& root);
  ~FaultDisk();
  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;

  // The power goes during the `nth` operation from now on, counted from 1: nothing is done from then on.
  void cut_power_at(std::uint64_t nth);

  // The `nth` operation of these kinds from now on fails with `error_number`; with `lasting` all later ones too.
  // A sync that fails loses what it should have written, as on Linux: a later sync does not bring it back.
  void fail_at(Asked kinds, std::uint64_t nth, int error_number, bool lasting);
  void mend();

  // Whether the power cut or the fault has been met.
  bool met() const;

  // How many operations there were since the last cut_power_at(), fail_at() or mend().
  std::uint64_t operations() const;

  // What was asked since the disk was made: "write a/b", "sync a" and so on, by paths below the root.
  std::vector<std::string> asked() const;

  // Makes in `folder`, which is empty, what a power cut at this moment leaves.
  void restore(const std::filesystem::path& folder, Loss loss, std::uint64_t seed) const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace sojourn::store
