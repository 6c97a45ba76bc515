#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

// What a round of the property test does, drawn from its seed.
namespace sojourn::runtime::order {

struct Operation {
  enum class Kind {
    request,
    cancel,
    end,
    keepalive,
    write,
    pass,
    let_go,
    lose,
    crash,
    restart,
    refuse,
    hold,
    misopen
  };
  Kind kind = Kind::request;
  std::uint32_t a = 0;  // what they choose is found when it is run
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::uint32_t d = 0;
};

inline std::string describe(const Operation& operation) {
  static constexpr std::string_view names[] = {"request", "cancel", "end",    "keepalive", "write",
                                               "pass",    "let_go", "lose",   "crash",     "restart",
                                               "refuse",  "hold",   "misopen"};
  return fmt::format("{} {} {} {} {}", names[static_cast<std::size_t>(operation.kind)], operation.a, operation.b,
                     operation.c, operation.d);
}

inline std::vector<Operation> operations_of(std::uint64_t seed) {
  using Kind = Operation::Kind;
  static constexpr std::pair<Kind, unsigned> weights[] = {
      {Kind::request, 50}, {Kind::cancel, 6}, {Kind::end, 3},     {Kind::keepalive, 4}, {Kind::write, 8},
      {Kind::pass, 12},    {Kind::let_go, 9}, {Kind::lose, 3},    {Kind::crash, 1},     {Kind::restart, 1},
      {Kind::refuse, 1},   {Kind::hold, 1},   {Kind::misopen, 1},
  };
  std::mt19937_64 engine(seed);
  std::vector<Operation> operations(10 + engine() % 50);
  for (Operation& operation : operations) {
    std::uint64_t drawn = engine() % 100;
    for (const auto& [kind, weight] : weights) {
      operation.kind = kind;
      if (drawn < weight) break;
      drawn -= weight;
    }
    for (std::uint32_t* number : {&operation.a, &operation.b, &operation.c, &operation.d}) {
      *number = static_cast<std::uint32_t>(engine() >> 33);
    }
  }
  return operations;
}

}  // namespace sojourn::runtime::order
