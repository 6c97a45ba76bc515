#include <fmt/format.h>

#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/cli/app_archive.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/dry_run.hpp"
#include "sojourn/cli/input.hpp"
#include "sojourn/cli/picture_file.hpp"
#include "sojourn/cli/remote.hpp"
#include "sojourn/steps/step_error.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

// The pictures of one detection in shared memory, which go with this.
class Pictures {
 public:
  Pictures() = default;
  ~Pictures() {
    for (const steps::SharedImage& image : images_) steps::SharedImage::remove(image.id());
  }
  Pictures(const Pictures&) = delete;
  Pictures& operator=(const Pictures&) = delete;

  // What a step is told of the picture in `file`.
  JsonObject add(const fs::path& file) {
    images_.push_back(read_picture(file));
    return {{"shared_mem_id", images_.back().id()}, {"image_meta", images_.back().describe()}};
  }

 private:
  std::vector<steps::SharedImage> images_;
};

// The n-th picture and the n-th parameters are the n-th step's.
JsonObject detection_of(const TryOptions& options, Pictures& pictures, Console& console) {
  JsonArray steps;
  const auto step = [&](std::size_t index) -> JsonObject& {
    while (steps.size() <= index) steps.emplace_back(JsonObject());
    return steps[index].get_object();
  };
  for (std::size_t i = 0; i < options.images.size(); ++i) {
    if (options.images[i] != "-") step(i) = pictures.add(options.images[i]);
  }
  for (std::size_t i = 0; i < options.params.size(); ++i) {
    step(i)["user_params"] = input_of(options.params[i], console);
  }
  return {{"pid", options.pid}, {"steps", std::move(steps)}};
}

Async<Json> run(DryRun& app, Json input, Console& console) {
  std::exception_ptr failure;
  Json output;
  try {
    co_await app.open();
    output = co_await app.call("detect", std::move(input));
    co_await app.close();
  } catch (...) {
    failure = std::current_exception();
  }
  co_await app.end();
  for (const std::string& resource : app.leaked()) console.err << printable(resource) << '\n';
  if (failure) std::rethrow_exception(failure);
  co_return output;
}

std::string milliseconds(const Json& outcome) {
  const JsonObject* fields = outcome.if_object();
  const Json* us = fields != nullptr ? fields->if_contains("latency_us") : nullptr;
  return us != nullptr && us->is_int64() ? fmt::format("{:.1f} ms", static_cast<double>(us->get_int64()) / 1000) : "";
}

Cell verdict_of(const std::string& verdict) {
  return {verdict, verdict == "OK" ? Colour::green : Colour::red};
}

void print_outcome(const Json& outcome, Console& console) {
  Table table({"", "", "", ""});
  const JsonObject* fields = outcome.if_object();
  const Json* steps = fields != nullptr ? fields->if_contains("steps") : nullptr;
  if (steps != nullptr && steps->is_array()) {
    for (const Json& step : steps->get_array()) {
      const JsonObject* of_step = step.if_object();
      const Json data = of_step != nullptr && of_step->contains("data") ? of_step->at("data") : Json();
      table.add({{fmt::format("step {}", field(step, "step_index"))},
                 verdict_of(field(data, "result_status")),
                 {milliseconds(step)},
                 {printable(field(data, "ng_reason"))}});
    }
  }
  table.add({{"in all"},
             verdict_of(field(outcome, "result_status")),
             {milliseconds(outcome)},
             {printable(field(outcome, "ng_reason"))}});
  table.print(console);
}

// What a step failed with, in the words of the one table of codes; nothing for another error.
std::optional<std::string> failure_of_step(const Error& error) {
  const Json* code = error.details().if_contains("error");
  const auto known = code != nullptr && code->is_string() ? steps::find_step_code(code->get_string()) : std::nullopt;
  if (!known) return std::nullopt;
  const steps::StepCodeInfo& told = steps::info(*known);
  const Json* step = error.details().if_contains("step_index");
  return fmt::format("{}{} ({} {})\n         {}\n", step == nullptr ? "" : fmt::format("step {}: ", to_text(*step)),
                     error.message(), told.number, told.name, told.advice);
}

// Says where an algorithm failed, and what its program said of it.
ExitCode report_failure(const Error& error, Console& console) {
  if (console.json) return report(console, error);
  console.err << printable(last_words(error), true);
  const std::optional<std::string> of_step = failure_of_step(error);
  if (!of_step) return report(console, error);
  console.err << paint(console, Colour::red, "sojourn:") << ' ' << printable(*of_step, true);
  return ExitCode::failed;
}

}  // namespace

ExitCode try_algorithm(const TryOptions& options, const Settings&, Console& console) {
  const AppFolder app(options.app);
  worker::Manifest manifest = worker::read_manifest(app.path());
  std::string folder;
  if (!options.folder.empty()) {
    std::error_code error;
    folder = fs::absolute(options.folder).string();
    fs::create_directories(folder, error);
    if (error) throw io_error(folder, error.value());
  }
  Pictures pictures;
  Json input = detection_of(options, pictures, console);
  Loop loop;
  DryRun dry_run(std::move(manifest), loop.executor(), folder, [&](std::string_view stream, std::string_view line) {
    console.err << fmt::format("{}: {}\n", stream, printable(line));
  });
  if (!dry_run.offers("detect")) {
    throw Error(ErrorCode::function_not_found,
                fmt::format("{} has no function detect: it is no algorithm", dry_run.info().name));
  }
  Json outcome;
  const auto told = [](DryRun& run_in, Json given, Console& errors, Json& output) -> Async<void> {
    output = co_await run(run_in, std::move(given), errors);
  };
  try {
    loop.run(told(dry_run, std::move(input), console, outcome));
  } catch (const Error& error) {
    return report_failure(error, console);
  }
  if (console.json) {
    print_json(console, outcome);
  } else {
    print_outcome(outcome, console);
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
