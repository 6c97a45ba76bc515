#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/runtime/order_round_test.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/sqlite_store.hpp"

// Order and promises under random interleavings, on virtual time. SOJOURN_SEED runs one round again, SOJOURN_ROUNDS
// says how many. A round that goes wrong is shrunk to the operations it takes, which are printed.
namespace sojourn::runtime::order {

namespace {

using MakeStore = std::function<std::unique_ptr<store::Store>()>;

std::vector<std::string> play(const MakeStore& make, std::uint64_t seed, const std::vector<Operation>& operations) {
  Loop loop;  // outlives the store, which resumes on it
  const std::unique_ptr<store::Store> store = make();
  std::vector<std::string> wrong;
  {
    Round round(loop, *store, seed);
    round.stuck = [&] {
      std::cerr << "SOJOURN_SEED=" << seed << '\n';
      for (const Operation& operation : operations) std::cerr << describe(operation) << '\n';
    };
    wrong = round.run(operations);
  }
  loop.run(store->close());
  return wrong;
}

// Leaves out what is not needed for the round to go wrong.
std::vector<Operation> shrink(const MakeStore& make, std::uint64_t seed, std::vector<Operation> operations) {
  for (std::size_t part = operations.size() / 2; part > 0; part /= 2) {
    for (std::size_t from = 0; from + part <= operations.size();) {
      std::vector<Operation> fewer = operations;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(from),
                  fewer.begin() + static_cast<std::ptrdiff_t>(from + part));
      if (play(make, seed, fewer).empty()) {
        from += part;
      } else {
        operations = std::move(fewer);
      }
    }
  }
  return operations;
}

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void play_round(const MakeStore& make, std::uint64_t seed) {
  const std::vector<Operation> operations = operations_of(seed);
  const std::vector<std::string> first_said = play(make, seed, operations);
  if (first_said.empty()) return;
  const std::vector<Operation> fewest = shrink(make, seed, operations);
  std::string said = "at first: " + first_said.front() + '\n';
  for (const std::string& wrong : play(make, seed, fewest)) said += wrong + '\n';
  for (const Operation& operation : fewest) said += "  " + describe(operation) + '\n';
  FAIL() << "SOJOURN_SEED=" << seed << '\n' << said;
}

void play_rounds(const MakeStore& make, std::uint64_t rounds) {
  const std::uint64_t first = number_from("SOJOURN_SEED", std::random_device()());
  if (std::getenv("SOJOURN_SEED") != nullptr && std::getenv("SOJOURN_ROUNDS") == nullptr) rounds = 1;
  std::cout << "SOJOURN_SEED=" << first << '\n';
  for (std::uint64_t seed = first; seed < first + rounds && !testing::Test::HasFailure(); ++seed) {
    play_round(make, seed);
  }
}

TEST(Order, HoldsOnTheMemoryStore) {
  play_rounds([] { return std::make_unique<store::MemoryStore>(); }, number_from("SOJOURN_ROUNDS", 300));
}

TEST(Order, HoldsWhereACallIsTakenInOnlyAfterItsTime) {
  play_round([] { return std::make_unique<store::MemoryStore>(); }, 4'246'607'447);
}

TEST(Order, HoldsOnTheSqliteStore) {
  const TemporaryFolder folder;
  std::size_t made = 0;
  play_rounds(
      [&] {
        std::filesystem::remove_all(folder.path() / std::to_string(made));
        ++made;
        return store::SqliteStore::open({.folder = folder.path() / std::to_string(made)});
      },
      number_from("SOJOURN_ROUNDS", 200) / 10);
}

}  // namespace

}  // namespace sojourn::runtime::order
