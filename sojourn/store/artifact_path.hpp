#pragma once

#include <string>
#include <string_view>
#include <vector>

// Where an artefact stands in its session's folder, as its name on the wire and in the journal: "step1/report.json".
namespace sojourn::store {

// The names of a path, outermost first.
// Shape:  at most limits::artifact_path_depth names and limits::artifact_path_bytes; each name of 1 to
//         limits::file_name_bytes of UTF-8 without control characters and backslashes, with no dot at its begin and
//         no
//         ".new" at its end.
// Errors: invalid_request (field "path") for any other, and for session_metadata.json, which is the server's.
std::vector<std::string> split_artifact_path(std::string_view path);

// What two paths have in common that some file systems take for one name: without the case of ASCII letters.
std::string folded(std::string_view path);

}  // namespace sojourn::store
