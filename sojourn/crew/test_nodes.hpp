#pragma once

#include <boost/describe.hpp>
#include <string>
#include <vector>

#include "sojourn/crew/crew.hpp"

// The isolated nodes of the tests, which each process of the test program has.
namespace sojourn::crew {

struct Spot {
  std::string name;
  std::vector<double> at;
};
BOOST_DESCRIBE_STRUCT(Spot, (), (name, at))

extern const flow::Node<Spot, Spot, double> moved;             // further by so much
extern const flow::Node<int> own_pid;                          // of the process it runs in
extern const flow::Node<std::string, std::string> throws;      // "range", "error" or "fatal"
extern const flow::Node<int, int> dies_of;                     // this signal; of 0 not at all
extern const flow::Node<void, std::string> computes_for_ever;  // once it has written its process to a file
extern const flow::Node<void, std::string> waits_for_ever;     // likewise, but heeds a cancel
extern const flow::Node<int, std::string, std::string> meets;  // writes the first file, waits for the other
extern const flow::Node<std::uint64_t, std::uint64_t> fills;   // as many bytes of memory
extern const flow::Node<int, std::string> counts;              // its calls, in a file
extern const flow::Node<void, std::string> says;               // on standard output
extern const flow::Node<std::string> folder_and_variable;      // where it is, and $CREW_TEST
extern const flow::Node<Json, Json> unlisted;                  // is in no process

Program test_program(int count, char** words);

// What is written in `file`, once something is.
std::string wait_for_text(const std::string& file);

bool is_alive(int pid);

}  // namespace sojourn::crew
