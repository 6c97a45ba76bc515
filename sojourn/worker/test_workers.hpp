#pragma once

#include <string_view>

namespace sojourn::worker {

// What the tests have the supervisor start: `NAME_tests worker MODE`. An unknown mode serves the test app.
int run_test_worker(std::string_view mode);

// `NAME_tests server FOLDER`: a server that opens a session, writes the ids of its processes to FOLDER/pids, and
// waits to be killed.
int run_test_server(std::string_view folder);

}  // namespace sojourn::worker
