#include <CLI/App.hpp>
#include <CLI/Config.hpp>

#include "sojourn/cli/words.hpp"

namespace sojourn::cli {

namespace {

void add_app_new(CLI::App& app, Words& words) {
  CLI::App* command = app.add_subcommand("new", "Write a small app that builds and passes its test");
  command->footer("Example:\n  sojourn app new bolt-check --lang cpp");
  NewAppOptions& options = words.new_app;
  command->add_option("NAME", options.name, "The app's name")->required()->type_name("");
  command->add_option("--lang", options.language, "cpp or python")
      ->required()
      ->type_name("LANGUAGE")
      ->check(CLI::IsMember({"cpp", "python"}));
  command->add_option("--kind", options.kind, "What it is: algorithm [algorithm]")
      ->type_name("KIND")
      ->check(CLI::IsMember({"algorithm"}));
  command->add_option("--folder", options.folder, "Where to; else a folder of its name here")->type_name("DIR");
  on_call(*command, words, SettingUser::nobody, options, new_app);
}

void add_app_check(CLI::App& app, Words& words) {
  CLI::App* command = app.add_subcommand("check", "Try an app without a server, and report each thing tried");
  command->footer(
      "Reads app.toml, compares the files with the list they were packed with, starts the program, asks an "
      "algorithm\n"
      "what it is, calls it with --input, and closes it. What it prints on standard output fails the check. Exits\n"
      "with 0 only when all went well.\n\n"
      "Example:\n  sojourn app check apps/counter --input '{\"key\": \"a\"}'");
  command->add_option("PATH", words.check.folder, "The folder that holds app.toml, or an archive of it")
      ->required()
      ->type_name("");
  command->add_option("--function", words.check.function, "Function of the dry run; else the app's default")
      ->type_name("NAME");
  command->add_option("--input", words.check.input, "Input of a dry run: JSON, @FILE, or @- for standard input")
      ->type_name("JSON");
  on_call(*command, words, SettingUser::nobody, words.check, check_app);
}

void add_app_run(CLI::App& app, Words& words) {
  CLI::App* command = app.add_subcommand("run", "Run one detection of an algorithm on images, without a server");
  command->footer(
      "The first --image and the first --params are the first step's, and so on. Exits with 0 where the detection\n"
      "went through, also for a product that is not good.\n\n"
      "Example:\n  sojourn app run bolt-check --image reference.png --image product.png --params {} "
      "--params '{\"tolerance\": 5}'");
  TryOptions& options = words.try_out;
  command->add_option("PATH", options.app, "The folder that holds app.toml, or an archive of it")
      ->required()
      ->type_name("");
  command->add_option("--image", options.images, "PNG or JPEG file of the next step, or - for none")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command->add_option("--params", options.params, "Parameters of the next step: JSON, or @FILE")
      ->type_name("JSON")
      ->allow_extra_args(false);
  command->add_option("--pid", options.pid, "The product")->type_name("ID");
  command->add_option("--folder", options.folder, "Where the files that it writes stay")->type_name("DIR");
  on_call(*command, words, SettingUser::nobody, options, try_algorithm);
}

}  // namespace

void add_app(CLI::App& root, Words& words) {
  CLI::App* app = root.add_subcommand("app", "Make, check, run and pack apps, without a server");
  app->require_subcommand(1);
  app->footer("Example:\n  sojourn app check apps/counter");
  add_app_new(*app, words);
  add_app_check(*app, words);
  add_app_run(*app, words);

  CLI::App* command = app->add_subcommand("pack", "Make one archive of an app, with the hash of each file");
  command->footer("Leaves out hidden files, build and __pycache__.\n\nExample:\n  sojourn app pack bolt-check");
  command->add_option("FOLDER", words.pack.folder, "The folder that holds app.toml")->required()->type_name("");
  command->add_option("--output", words.pack.output, "Where to; else NAME-VERSION.tar here")->type_name("FILE");
  on_call(*command, words, SettingUser::nobody, words.pack, pack);

  command = app->add_subcommand("unpack", "Install an app from its archive, whole or not at all");
  command->footer(
      "A server reads its apps when it starts.\n\nExample:\n  sojourn app unpack bolt-check-1.0.0.tar --into apps");
  command->add_option("ARCHIVE", words.unpack.archive, "What sojourn app pack made")->required()->type_name("");
  command->add_option("--into", words.unpack.into, "Folder of apps [.]")->type_name("DIR");
  command->add_flag("--replace", words.unpack.replace, "Take the place of the app that is there");
  on_call(*command, words, SettingUser::nobody, words.unpack, unpack);
}

}  // namespace sojourn::cli
