#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/cli/console.hpp"
#include "sojourn/cli/settings.hpp"

// What each command does, once its words are understood (command_line.hpp). One source file for each.
//
// All throw Error for what cannot be done; the command line reports it.
namespace sojourn::cli {

// Serves until SIGTERM or SIGINT. Errors: config_invalid for an address of the network without keys.
ExitCode serve(const Settings& settings, Console& console);

struct RunOptions {
  std::string app;
  std::string session;  // "" for a call without one, "new", or an id
  std::string function;
  std::string input = "{}";  // JSON, @FILE, or @- for standard input
  std::optional<int> session_timeout;
  std::string run_at;   // "": now; a call that comes later is not waited for
  std::string webhook;  // "": nobody is told of its end
  bool no_wait = false;
};

// Calls an app. Standard output gets the call's output and nothing else; with --json the whole task.
// Returns failed where the call failed or was cancelled.
ExitCode run_app(const RunOptions& options, const Settings& settings, Console& console);

// What is "" is not asked for.
struct ListOptions {
  std::string status;
  std::string app;
  std::string user;
  std::string stage;
  std::string id;    // a part of it
  std::string from;  // a time of creation
  std::string before;
  std::vector<std::string> labels;  // NAME=VALUE
  std::size_t limit = 100;
};

ExitCode list_sessions(const ListOptions& options, const Settings& settings, Console& console);
struct NewSessionOptions {
  std::string app;    // "" for a session of state and events only
  std::string setup;  // JSON, or "" for none
  std::string user;
  std::string lifecycle;            // "" for none
  std::vector<std::string> labels;  // NAME=VALUE
  std::optional<int> session_timeout;
  bool warm = false;  // open its worker, and wait for that
};

// Prints the new session's id.
ExitCode create_session(const NewSessionOptions& options, const Settings& settings, Console& console);
ExitCode show_session(const std::string& id, const Settings& settings, Console& console);
ExitCode end_session(const std::string& id, const Settings& settings, Console& console);
ExitCode keep_session_alive(const std::string& id, const Settings& settings, Console& console);

struct StageOptions {
  std::string session;
  std::string stage;  // "" to show where it stands
  std::string reason;
};

ExitCode show_or_move_stage(const StageOptions& options, const Settings& settings, Console& console);

struct StepOptions {
  std::string session;
  std::string step;
  std::string action;  // start, finish, fail or report
  std::optional<std::uint64_t> attempt;
  std::optional<std::uint64_t> duration_ms;
  std::string error;  // "" for none; of a report that it failed
};

ExitCode change_step(const StepOptions& options, const Settings& settings, Console& console);
ExitCode show_steps(const std::string& session, const Settings& settings, Console& console);

struct FlowOptions {
  std::string session;
  std::string task;  // "" for the newest run
  std::string svg;   // a file; "" to draw it in the terminal
  bool all = false;  // each call, also where there are many alike
};

// Shows a run of a flow: who called whom, and when.
ExitCode show_flow(const FlowOptions& options, const Settings& settings, Console& console);

ExitCode list_apps(const Settings& settings, Console& console);

struct NewAppOptions {
  std::string name;
  std::string kind = "algorithm";
  std::string language;  // "cpp" or "python"
  std::string folder;    // "" for one of its name
};

// Writes a small app that builds and passes its test, into a folder that is not there or empty.
ExitCode new_app(const NewAppOptions& options, const Settings& settings, Console& console);

struct CheckOptions {
  std::string folder;    // of the app, or its archive
  std::string function;  // "" for the app's default
  std::string input;     // JSON, @FILE or @-; "" for no dry run
};

// Tries an app without a server: reads its app.toml, starts its program, asks an algorithm what it is, makes one
// call, and closes it. Returns failed unless all of it went well and the program printed nothing.
ExitCode check_app(const CheckOptions& options, const Settings& settings, Console& console);

struct TryOptions {
  std::string app;                  // folder or archive
  std::vector<std::string> images;  // PNG or JPEG, each for a step in its order; "-" for a step without one
  std::vector<std::string> params;  // JSON or @FILE, each for a step in its order
  std::string pid;
  std::string folder;  // where the session's files stay; "" for nowhere
};

// Runs one detection of an algorithm without a server. What it prints and logs goes to standard error.
ExitCode try_algorithm(const TryOptions& options, const Settings& settings, Console& console);

struct PackOptions {
  std::string folder;
  std::string output;  // "" for NAME-VERSION.tar
};

struct UnpackOptions {
  std::string archive;
  std::string into = ".";  // a folder of apps
  bool replace = false;
};

// Make one archive of an app, and install it. Whole or not at all.
ExitCode pack(const PackOptions& options, const Settings& settings, Console& console);
ExitCode unpack(const UnpackOptions& options, const Settings& settings, Console& console);

struct VerifyOptions {
  std::string session;            // "" for all
  std::string archive;            // a file to verify instead of the data folder; "" for none
  std::vector<std::string> keys;  // files of public keys; none: the data folder's
};

// Verifies journals in the data folder, beside a running server or without one, or an archive, which takes no data
// folder. Returns failed unless all hold.
ExitCode verify_journals(const VerifyOptions& options, const Settings& settings, Console& console);

struct PurgeOptions {
  std::string older_than;  // an age
  std::string app;         // "" for all
  bool dry_run = false;
};

// Removes sessions of the data folder that were over for so long, while no server has it.
ExitCode purge_sessions(const PurgeOptions& options, const Settings& settings, Console& console);

struct ShowOptions {
  std::string session;
  bool all = false;  // every event, also log lines and state changes
};

// Draws the journal of a session of the data folder as a timeline.
ExitCode show_trail(const ShowOptions& options, const Settings& settings, Console& console);

struct RebuildOptions {
  std::string session;  // "" for all
};

// Makes the folders of sessions anew from the store: metadata and artefacts. What else is in them stays.
ExitCode rebuild_folders(const RebuildOptions& options, const Settings& settings, Console& console);

struct ExportOptions {
  std::string session;
  std::string output;  // "" for ID.tar
};

// Writes a session of the data folder as one archive, whole or not at all. Returns failed where it was written, but
// its journal does not hold.
ExitCode export_session(const ExportOptions& options, const Settings& settings, Console& console);

struct JournalKeyOptions {
  bool rotate = false;  // make another first, while no server has the data folder
};

// Prints the public key of the data folder.
ExitCode show_journal_key(const JournalKeyOptions& options, const Settings& settings, Console& console);

// What every board command takes.
struct BoardOptions {
  std::string address;  // device/address.hpp
  int timeout = 30;     // seconds, for all of it
  std::string code;     // of exec: Python, @FILE, or @- for standard input
  std::string path;     // on the board
  std::string file;     // on this machine; "" for the path's last part
  bool hard = false;    // of reset: by force
  bool others = false;  // of sync: remove what is on the board only
};

// These drive a board on a wire of this machine, without a server. What code prints, and what it raises, appear as
// they come.
ExitCode show_board(const BoardOptions& options, Console& console);
ExitCode run_on_board(const BoardOptions& options, Console& console);
ExitCode list_board_files(const BoardOptions& options, Console& console);
ExitCode put_on_board(const BoardOptions& options, Console& console);
ExitCode get_from_board(const BoardOptions& options, Console& console);
ExitCode remove_from_board(const BoardOptions& options, Console& console);
ExitCode sync_board(const BoardOptions& options, Console& console);
ExitCode reset_board(const BoardOptions& options, Console& console);

// Prints the serial ports on USB, and what to write for each.
ExitCode list_boards(Console& console);

// Joins the terminal to the board's own prompt, until Ctrl-] or the end of the input.
ExitCode open_board_terminal(const BoardOptions& options, Console& console);

ExitCode show_settings(const Settings& settings, Console& console);

struct NewKeyOptions {
  std::string name;
  std::vector<std::string> scopes;
  std::string file;  // "" for the setting `keys`
};

// Prints a new key, once, and stores its hash.
ExitCode create_key(const NewKeyOptions& options, const Settings& settings, Console& console);

}  // namespace sojourn::cli
