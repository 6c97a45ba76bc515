#include "sojourn/cli/command_line.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <exception>
#include <functional>
#include <ostream>

#include "sojourn/base/limits.hpp"
#include "sojourn/cli/words.hpp"

namespace sojourn::cli {

namespace {

constexpr int min_timeout = static_cast<int>(limits::min_session_timeout.count());
constexpr int max_timeout = static_cast<int>(limits::max_session_timeout.count());

void add_serve(CLI::App& root, Words& words) {
  CLI::App* command = root.add_subcommand("serve", "Serve the apps of a folder over HTTP until SIGTERM");
  command->footer(
      "Prints 'listening on http://HOST:PORT' once it is ready. SIGTERM and SIGINT let running calls finish first.\n"
      "An address that other machines can reach takes API keys: sojourn keys create --help.\n\n"
      "Example:\n  sojourn serve --apps apps --data data --listen 127.0.0.1:0");
  on_call(*command, words, SettingUser::server, serve);
}

void add_run(CLI::App& root, Words& words) {
  CLI::App* command = root.add_subcommand("run", "Call an app, in a new session, a warm one or none");
  command->footer(
      "Standard output gets the call's output; the session's id goes to standard error, or with --json into the "
      "task.\n"
      "Interrupting it stops the waiting, not the call, and says which task goes on.\n\n"
      "Examples:\n"
      "  sojourn run counter --session new --function increment --input '{\"key\": \"a\"}'\n"
      "  sojourn run counter --session sess_20260115_103045_a1b2c3 --function increment --input @input.json");
  RunOptions& options = words.run;
  command->add_option("APP", options.app, "Name of the app; sojourn apps lists them")->required()->type_name("");
  command
      ->add_option("--session", options.session, "'new', or the id of one to go on with; else one for this call only")
      ->type_name("ID");
  command->add_option("--function", options.function, "Function to call; else the app's default")->type_name("NAME");
  command->add_option("--input", options.input, "Input as JSON, @FILE, or @- for standard input [{}]")
      ->type_name("JSON");
  command->add_option("--session-timeout", options.session_timeout, "Idle seconds after which a new session expires")
      ->type_name("SECONDS")
      ->check(CLI::Range(min_timeout, max_timeout));
  command->add_option("--run-at", options.run_at, "Not before this time, 2026-01-15T09:30:00Z; it is not waited for")
      ->type_name("TIME");
  command->add_option("--webhook", options.webhook, "Where the server tells how the call ended")->type_name("URL");
  command->add_flag("--no-wait", options.no_wait, "Print the task's state as soon as it is accepted");
  on_call(*command, words, SettingUser::client, options, run_app);
}

void add_session_command(CLI::App& sessions, Words& words, const std::string& name, const std::string& help,
                         ExitCode (*act)(const std::string&, const Settings&, Console&)) {
  CLI::App* command = sessions.add_subcommand(name, help);
  command->footer("Example:\n  sojourn sessions " + name + " sess_20260115_103045_a1b2c3");
  command->add_option("ID", words.session, "The session's id")->required()->type_name("");
  on_call(*command, words, SettingUser::client, words.session, act);
}

void add_new_session(CLI::App& sessions, Words& words) {
  CLI::App* command = sessions.add_subcommand("create", "Make a session without calling it, and print its id");
  command->footer("Example:\n  sojourn sessions create counter --warm");
  NewSessionOptions& options = words.new_session;
  command->add_option("APP", options.app, "Name of the app; else a session of state and events only")->type_name("");
  command->add_flag("--warm", options.warm, "Open its worker, and wait until that is ready for the first call");
  command->add_option("--user", options.user, "Whose session it is")->type_name("NAME");
  command->add_option("--lifecycle", options.lifecycle, "The stages that its work may go through")->type_name("NAME");
  command->add_option("--label", options.labels, "A label to list it by; may be given again")
      ->type_name("NAME=VALUE");
  command->add_option("--setup", options.setup, "What the worker is opened with, as JSON")->type_name("JSON");
  command->add_option("--session-timeout", options.session_timeout, "Idle seconds after which it expires")
      ->type_name("SECONDS")
      ->check(CLI::Range(min_timeout, max_timeout));
  on_call(*command, words, SettingUser::client, options, create_session);
}

void add_stage(CLI::App& sessions, Words& words) {
  CLI::App* command = sessions.add_subcommand("stage", "Show the stage of a session, or move it to another");
  command->footer(
      "Example:\n  sojourn sessions stage sess_20260115_103045_a1b2c3 matches_found --reason 'seven hits'");
  command->add_option("ID", words.stage.session, "The session's id")->required()->type_name("");
  command->add_option("STAGE", words.stage.stage, "The stage to move it to")->type_name("");
  command->add_option("--reason", words.stage.reason, "Why, for the journal")->type_name("TEXT");
  on_call(*command, words, SettingUser::client, words.stage, show_or_move_stage);
}

void add_step(CLI::App& sessions, Words& words) {
  CLI::App* command = sessions.add_subcommand("step", "Start, finish or fail a step of a session, or report one");
  command->footer("Example:\n  sojourn sessions step sess_20260115_103045_a1b2c3 search report --duration-ms 1250");
  StepOptions& options = words.step;
  command->add_option("ID", options.session, "The session's id")->required()->type_name("");
  command->add_option("STEP", options.step, "The step's name")->required()->type_name("");
  command->add_option("ACTION", options.action, "start, finish, fail or report")
      ->required()
      ->type_name("")
      ->check(CLI::IsMember({"start", "finish", "fail", "report"}));
  command->add_option("--attempt", options.attempt, "Which attempt is over; else the newest that runs")
      ->type_name("NUMBER");
  command->add_option("--duration-ms", options.duration_ms, "How long it took; a report needs it")->type_name("MS");
  command->add_option("--error", options.error, "What it failed with")->type_name("TEXT");
  on_call(*command, words, SettingUser::client, options, change_step);
}

void add_sessions(CLI::App& root, Words& words) {
  CLI::App* command = root.add_subcommand("sessions", "List, make, show, end or keep sessions");
  command->footer("Examples:\n  sojourn sessions\n  sojourn sessions show sess_20260115_103045_a1b2c3");
  command->require_subcommand(0, 1);
  CLI::App* list = command->add_subcommand("list", "List sessions, newest first (also without the word list)");
  list->footer("Example:\n  sojourn sessions list --status active --limit 10");
  for (CLI::App* lister : {command, list}) {
    lister->add_option("--status", words.list.status, "Only those that are active, ended, expired or failed")
        ->type_name("STATUS")
        ->check(CLI::IsMember({"active", "ended", "expired", "failed"}));
    lister->add_option("--app", words.list.app, "Only those of this app")->type_name("NAME");
    lister->add_option("--user", words.list.user, "Only those of this user")->type_name("NAME");
    lister->add_option("--stage", words.list.stage, "Only those in this stage")->type_name("STAGE");
    lister->add_option("--label", words.list.labels, "Only those with this label; may be given again")
        ->type_name("NAME=VALUE");
    lister->add_option("--id", words.list.id, "Only those whose id has this text in it")->type_name("TEXT");
    lister->add_option("--from", words.list.from, "Only those created then or later, such as 2026-01-15T00:00:00Z")
        ->type_name("TIME");
    lister->add_option("--before", words.list.before, "Only those created before that")->type_name("TIME");
    lister->add_option("--limit", words.list.limit, "At most so many [100]")
        ->type_name("COUNT")
        ->check(CLI::Range(1, 1'000'000));
    add_common(*lister, words, SettingUser::client);
  }
  add_new_session(*command, words);
  add_session_command(*command, words, "show", "Show all that is known of a session", show_session);
  add_session_command(*command, words, "end", "End a session: clean up and free its worker", end_session);
  add_stage(*command, words);
  add_step(*command, words);
  add_session_command(*command, words, "steps", "List the attempts at a session's steps", show_steps);
  add_session_command(*command, words, "keepalive", "Start a session's idle time-out anew", keep_session_alive);
  command->callback([&words] {
    if (words.command) return;
    words.command = [&words](const Settings& settings, Console& console) {
      return list_sessions(words.list, settings, console);
    };
  });
}

void add_flow(CLI::App& root, Words& words) {
  CLI::App* flow = root.add_subcommand("flow", "Show the flows that ran in a session");
  flow->require_subcommand(1);
  flow->footer("Example:\n  sojourn flow show sess_20260115_103045_a1b2c3");
  CLI::App* command = flow->add_subcommand("show", "Draw the calls of a run as a tree, with their times");
  command->footer(
      "# is when a call ran, within the run; x one that failed.\n\n"
      "Examples:\n"
      "  sojourn flow show sess_20260115_103045_a1b2c3\n"
      "  sojourn flow show sess_20260115_103045_a1b2c3 --svg run.svg");
  command->add_option("ID", words.flow.session, "The session's id")->required()->type_name("");
  command->add_option("--task", words.flow.task, "The run of this call; else the newest")->type_name("ID");
  command->add_option("--svg", words.flow.svg, "Write a picture of it instead")->type_name("FILE");
  command->add_flag("--all", words.flow.all, "Each call, also where a node was called many times");
  on_call(*command, words, SettingUser::client, words.flow, show_flow);
}

void add_apps(CLI::App& root, Words& words) {
  CLI::App* command = root.add_subcommand("apps", "List the apps of the server");
  command->footer("Example:\n  sojourn apps");
  on_call(*command, words, SettingUser::client, list_apps);
}

void add_verify(CLI::App& audit, Words& words) {
  CLI::App* command = audit.add_subcommand("verify", "Prove that nobody rewrote a journal, or show where");
  command->footer(
      "Reads the data folder itself, beside a running server or without one, or an archive, with nothing but its\n"
      "server's public key. Exits with 0 only when all holds.\n\n"
      "Examples:\n"
      "  sojourn audit verify --data data\n"
      "  sojourn audit verify sess_20260115_103045_a1b2c3 --data data\n"
      "  sojourn audit verify --archive sess_20260115_103045_a1b2c3.tar --key journal-key.pub.pem");
  CLI::Option* id = command->add_option("ID", words.verify.session, "One session; else all of them")->type_name("");
  command->add_flag("--all", words.all, "All sessions, which is also the default")->excludes(id);
  CLI::Option* key = command
                         ->add_option("--key", words.verify.keys,
                                      "A public key of the server, repeat it for more; else those of the data folder")
                         ->type_name("FILE")
                         ->allow_extra_args(false);
  command->add_option("--archive", words.verify.archive, "An archive that audit export wrote; takes --key")
      ->type_name("FILE")
      ->excludes(id)
      ->needs(key);
  on_call(*command, words, SettingUser::reader, words.verify, verify_journals);
}

void add_purge(CLI::App& root, Words& words) {
  CLI::App* command = root.add_subcommand("purge", "Remove sessions that were over for long");
  command->footer(
      "Never one that is active, or still owes a webhook. What is removed stays provable: its number of events, last "
      "hash and\n"
      "signature are kept. Interrupted, it goes on where it is called again. Works on a data folder that no server "
      "has;\n"
      "a server does it by itself with the setting retention.\n\n"
      "Example:\n  sojourn purge --older-than 30d --dry-run");
  command->add_option("--older-than", words.purge.older_than, "Since their end: 90s, 45m, 12h, 30d or 8w")
      ->required()
      ->type_name("AGE");
  command->add_option("--app", words.purge.app, "Only those of this app")->type_name("NAME");
  command->add_flag("--dry-run", words.purge.dry_run, "Say what would go, and remove nothing");
  on_call(*command, words, SettingUser::reader, words.purge, purge_sessions);
}

void add_show(CLI::App& audit, Words& words) {
  CLI::App* command = audit.add_subcommand("show", "Draw a session's journal as a timeline");
  command->footer(
      "Reads the data folder itself, beside a running server or without one. # is work, | a stage, x what failed.\n\n"
      "Example:\n  sojourn audit show sess_20260115_103045_a1b2c3");
  command->add_option("ID", words.show.session, "The session's id")->required()->type_name("");
  command->add_flag("--all", words.show.all, "Every event, also log lines and changes of state");
  on_call(*command, words, SettingUser::reader, words.show, show_trail);
}

void add_rebuild(CLI::App& audit, Words& words) {
  CLI::App* command = audit.add_subcommand("rebuild", "Make session folders anew from the store");
  command->footer(
      "Writes session_metadata.json and the newest attempt of each artefact; what else is in a folder stays. Beside "
      "a\n"
      "running server or without one.\n\n"
      "Example:\n  sojourn audit rebuild --data data");
  command->add_option("ID", words.rebuild.session, "One session; else all of them")->type_name("");
  on_call(*command, words, SettingUser::reader, words.rebuild, rebuild_folders);
}

void add_audit(CLI::App& root, Words& words) {
  CLI::App* audit = root.add_subcommand("audit", "Verify, show and export journals, rebuild folders");
  audit->require_subcommand(1);
  audit->footer("Example:\n  sojourn audit verify --all");
  add_verify(*audit, words);
  add_show(*audit, words);
  add_rebuild(*audit, words);

  CLI::App* command = audit->add_subcommand("export", "Write a session as one archive that proves itself elsewhere");
  command->footer(
      "Reads the data folder itself, with the server's signing key in it, beside a running server or without one.\n"
      "The archive is a tar file; sojourn audit verify --archive checks it.\n\n"
      "Example:\n  sojourn audit export sess_20260115_103045_a1b2c3 --output trail.tar");
  command->add_option("ID", words.export_to.session, "The session's id")->required()->type_name("");
  command->add_option("--output", words.export_to.output, "Where to; else ID.tar here")->type_name("FILE");
  on_call(*command, words, SettingUser::reader, words.export_to, export_session);

  command = audit->add_subcommand("key", "Print the public key that journals are signed with");
  command->footer(
      "With --rotate it makes another key first, for when the old one is lost or was seen by others: stop the "
      "server\n"
      "before. What the old one signed is still verified, by its public half, which is kept.\n\n"
      "Example:\n  sojourn audit key --data data > journal-key.pub.pem");
  command->add_flag("--rotate", words.journal_key.rotate, "Sign with another key from now on");
  on_call(*command, words, SettingUser::reader, words.journal_key, show_journal_key);
}

void add_config(CLI::App& root, Words& words) {
  CLI::App* command = root.add_subcommand("config", "Show each setting and where it came from");
  command->footer(
      "A flag wins over the environment, that over sojourn.toml, that over the default.\n\n"
      "Example:\n  SOJOURN_DATA=/srv/sojourn sojourn config");
  on_call(*command, words, SettingUser::everybody, show_settings);
}

void add_keys(CLI::App& root, Words& words) {
  CLI::App* keys = root.add_subcommand("keys", "Make API keys");
  keys->require_subcommand(1);
  keys->footer("Example:\n  sojourn keys create ci --scope apps:read --scope apps:execute --file keys.toml");
  CLI::App* command = keys->add_subcommand("create", "Make a key: print it once, store its hash");
  command->footer(
      "Scopes: apps:read (look at apps, sessions, calls), apps:execute (run, cancel, keep alive, end), admin "
      "(all).\n\n"
      "Example:\n  sojourn keys create ci --scope apps:read --scope apps:execute --file keys.toml");
  command->add_option("NAME", words.new_key.name, "Who the key stands for, in the journal")
      ->required()
      ->type_name("");
  command->add_option("--scope", words.new_key.scopes, "What it may be used for; repeat it for more")
      ->required()
      ->type_name("SCOPE")
      ->allow_extra_args(false);
  command->add_option("--file", words.new_key.file, "Key file; else the setting keys")->type_name("FILE");
  on_call(*command, words, SettingUser::nobody, words.new_key, create_key);
}

// A command of `sojourn board` that `run` carries out.
CLI::App* add_board_command(CLI::App& board, Words& words, const char* name, const char* help, const char* example,
                            ExitCode (*run)(const BoardOptions&, Console&)) {
  CLI::App* command = board.add_subcommand(name, help);
  command->footer(std::string("Example:\n  sojourn board ") + example);
  command
      ->add_option(
          "ADDRESS", words.board.address,
          "serial:PATH, usb:VENDOR:PRODUCT, tcp:HOST:PORT, telnet:..., webrepl:..., unix:PATH, subprocess:COMMAND")
      ->required()
      ->type_name("");
  command->add_option("--timeout", words.board.timeout, "Seconds until the board is interrupted [30]")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 86'400));
  command->add_flag("--json", words.json, "Print JSON for machines");
  command->callback([&words, run] {
    words.command = [&words, run](const Settings&, Console& console) { return run(words.board, console); };
  });
  return command;
}

void add_board(CLI::App& root, Words& words) {
  CLI::App* board = root.add_subcommand("board", "Use a MicroPython board on a wire of this machine");
  board->require_subcommand(1);
  board->footer("Example:\n  sojourn board exec /dev/ttyACM0 \"print('hello')\"");
  CLI::App* list = board->add_subcommand("list", "Show the serial ports on USB");
  list->footer("Example:\n  sojourn board list");
  list->add_flag("--json", words.json, "Print JSON for machines");
  list->callback(
      [&words] { words.command = [](const Settings&, Console& console) { return list_boards(console); }; });
  add_board_command(*board, words, "repl", "Type at its own prompt; Ctrl-] leaves", "repl /dev/ttyACM0",
                    open_board_terminal);
  add_board_command(*board, words, "info", "Show what the board is and can do", "info /dev/ttyACM0", show_board);
  add_board_command(*board, words, "exec", "Run code on it; what it prints appears as it comes",
                    "exec /dev/ttyACM0 @blink.py --timeout 5", run_on_board)
      ->add_option("CODE", words.board.code, "Python, @FILE, or @- for standard input")
      ->required()
      ->type_name("");
  add_board_command(*board, words, "ls", "List a folder of it", "ls /dev/ttyACM0 lib", list_board_files)
      ->add_option("FOLDER", words.board.path, "Folder on the board [.]")
      ->type_name("");
  CLI::App* put = add_board_command(*board, words, "put", "Copy a file to it, and have it checked there",
                                    "put /dev/ttyACM0 main.py", put_on_board);
  put->add_option("FILE", words.board.file, "File of this machine")->required()->type_name("");
  put->add_option("PATH", words.board.path, "Path on the board; else the file's name")->type_name("");
  CLI::App* get =
      add_board_command(*board, words, "get", "Copy a file from it", "get /dev/ttyACM0 log.txt", get_from_board);
  get->add_option("PATH", words.board.path, "Path on the board")->required()->type_name("");
  get->add_option("FILE", words.board.file, "File of this machine; else the path's last part")->type_name("");
  CLI::App* sync = add_board_command(*board, words, "sync", "Copy what differs in a folder to it",
                                     "sync /dev/ttyACM0 firmware --remove-others", sync_board);
  sync->add_option("FOLDER", words.board.file, "Folder of this machine")->required()->type_name("");
  sync->add_option("PATH", words.board.path, "Folder on the board [.]")->type_name("");
  sync->add_flag("--remove-others", words.board.others, "Remove files that are only on the board");
  add_board_command(*board, words, "rm", "Remove a file or an empty folder", "rm /dev/ttyACM0 log.txt",
                    remove_from_board)
      ->add_option("PATH", words.board.path, "Path on the board")
      ->required()
      ->type_name("");
  add_board_command(*board, words, "reset", "Restart its interpreter, or with --hard the board", "reset /dev/ttyACM0",
                    reset_board)
      ->add_flag("--hard", words.board.hard, "By force: by the wire's reset line, or the process");
}

void add_all(CLI::App& root, Words& words) {
  root.set_version_flag("--version", "sojourn " SOJOURN_VERSION);
  root.require_subcommand(1);
  root.footer(
      "sojourn COMMAND --help tells more, with an example.\n\n"
      "Exit codes: 0 done; 1 it failed, or a journal does not hold; 2 bad usage or settings;\n"
      "3 the server or the board cannot be reached, or the store not be opened.");
  add_serve(root, words);
  add_run(root, words);
  add_sessions(root, words);
  add_flow(root, words);
  add_apps(root, words);
  add_app(root, words);
  add_audit(root, words);
  add_purge(root, words);
  add_config(root, words);
  add_keys(root, words);
  add_board(root, words);
}

// "sojourn sessions show" for what was understood of the words.
std::string understood(const CLI::App& root) {
  std::string name = "sojourn";
  for (const CLI::App* app = &root; !app->get_subcommands().empty();) {
    app = app->get_subcommands().back();
    name.append(" ").append(app->get_name());
  }
  return name;
}

// What is wrong with the words. The parser misses a command before it looks at the word that should be one.
std::string complaint(const CLI::App& root, const CLI::ParseError& error) {
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().back();
  const std::vector<std::string> unknown = app->remaining();
  if (app->get_require_subcommand_min() == 0 || unknown.empty()) return error.what();
  const bool is_flag = unknown.front().starts_with('-');
  return std::string("there is no ").append(is_flag ? "option" : "command").append(" '") + unknown.front() + "'";
}

ExitCode run_words(Words& words, const Surroundings& surroundings, Console& console) {
  try {
    words.sources.environment = surroundings.environment;
    words.sources.folder = surroundings.folder;
    console.json = words.json;
    return words.command(read_settings(words.sources), console);
  } catch (const std::exception&) {
    return report(console, to_error(std::current_exception()));
  }
}

}  // namespace

int run_command_line(std::vector<std::string> arguments, const Surroundings& surroundings, Console& console) {
  Words words;
  CLI::App root(
      "Sojourn keeps stateful work warm: sessions with one worker each, durable state and a verifiable journal.",
      "sojourn");
  root.get_formatter()->column_width(34);
  root.get_formatter()->label("REQUIRED", "");
  add_all(root, words);
  try {
    std::ranges::reverse(arguments);  // the parser takes them from the back
    root.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    console.out << root.help();
    return 0;
  } catch (const CLI::CallForVersion& version) {
    console.out << version.what() << '\n';
    return 0;
  } catch (const CLI::ParseError& error) {
    console.err << paint(console, Colour::red, "sojourn:") << ' ' << printable(complaint(root, error)) << '\n'
                << "         See " << understood(root) << " --help.\n";
    return static_cast<int>(ExitCode::usage);
  }
  return static_cast<int>(run_words(words, surroundings, console));
}

}  // namespace sojourn::cli
