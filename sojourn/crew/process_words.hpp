#pragma once

#include <map>
#include <string>
#include <vector>

// How a program starts itself as one of its crew's processes, and knows which of them it is.
namespace sojourn::crew {

// Of the process from which the others descend.
std::vector<std::string> supervisor_arguments();

// Of one that runs isolated nodes, in this one's working directory and with its environment.
std::vector<std::string> process_command();
std::map<std::string, std::string> process_environment();

}  // namespace sojourn::crew
