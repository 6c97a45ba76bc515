#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/process_limits.hpp"
#include "sojourn/worker/sandbox.hpp"

// What app.toml says of an app (docs/formats/app-toml.md).
namespace sojourn::worker {

struct Manifest {
  session::AppInfo info;
  std::string folder;                // absolute; holds app.toml
  std::vector<std::string> command;  // with {app} replaced by the folder, as in env
  std::map<std::string, std::string> env;
  ProcessLimits limits;
  std::uint64_t folder_bytes = 0;      // of a session's folder; 0: any
  std::size_t crashes_per_minute = 0;  // lost workers, past which none is started; 0: any
  Sandbox sandbox;
  bool prefork = false;      // each worker is a fork of one process that has loaded the app
  std::size_t min_warm = 0;  // workers that are started before a session needs them
};

// Reads FOLDER/app.toml. Blocks.
// Errors: manifest_invalid that names the file, the key or line, and what is expected there.
Manifest read_manifest(const std::filesystem::path& folder);

struct BrokenManifest {
  std::string folder;  // its name in the folder of apps
  Error error;
};

// The apps of a folder, and what is wrong with those that cannot be used.
struct FoundManifests {
  std::vector<Manifest> apps;
  std::vector<BrokenManifest> broken;  // also a second app of the same name
};

// Reads the app.toml of each folder in `apps_folder` that has one, in the order of their names. Blocks.
// Errors: io_error when `apps_folder` itself cannot be read.
FoundManifests find_manifests(const std::filesystem::path& apps_folder);

}  // namespace sojourn::worker
