#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/flow/graph.hpp"
#include "sojourn/flow/uuid.hpp"

// A flow session as Railtracks saves it, so that its viewer opens it: docs/formats/saved-flow.md.
namespace sojourn::flow {

struct SavedSession {
  Uuid uuid;
  std::optional<std::string> flow_name;
  std::optional<std::string> name;
  Time start;
  Time end;
};

// The id of all sessions of the flow of that name, as Railtracks makes it: SHA-256 of {"name": NAME} in ASCII.
std::string flow_id_of(std::string_view flow_name);

// One line of JSON. Cost: about 1 us and 1.5 KB a call.
std::string saved_state(const SavedSession& session, const Graph& graph);

// Where sessions are saved: $RAILTRACKS_HOME/.railtracks, else the nearest .railtracks from the working directory
// upwards, else one in the working directory.
std::filesystem::path saved_home();

// data/sessions/LABEL_UUID.json below `home`. The label is the flow's name, else the session's, else nothing; what no
// file name should have in it is '-'.
std::filesystem::path saved_file(const std::filesystem::path& home, const SavedSession& session);

}  // namespace sojourn::flow
