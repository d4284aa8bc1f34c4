// heddle promise: a method against plain sampling on pairs of runs, judged and reported.
#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "kernels/core/error.h"
#include "promises/report.h"

namespace heddle::cli {
namespace {

constexpr size_t shown = 8;  // pairs on each contact sheet

void measure(const std::string& name, const PromiseOptions& options, const std::string& folder) {
  const std::string path = find_promise(name);
  const PromiseSpec spec = PromiseSpec::read(path);
  ContactSheet sheet(metric_named(spec.metrics[0], path), shown);
  Progress progress("pair");
  PromiseEvents events;
  events.cancelled = interrupted;
  events.on_pair = [&](const Pair& pair, int done, int total) {
    sheet.offer(pair);
    progress.step(done, total);
  };
  std::cerr << spec.name << ": " << spec.says << std::endl;
  const PromiseResult result = measure_promise(spec, path, options, events);
  progress.finish();
  for (const std::string& file : write_report(folder, result, sheet)) std::cout << file << std::endl;
}

}  // namespace

void add_promise(CLI::App& app) {
  struct Arguments {
    std::string name, report = "docs";
    PromiseOptions options;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("promise", "Measure what a method promises: pairs of runs with and without it");
  command->add_option("name", a->name, "A promise that ships, a YAML file, or all")->required();
  command->add_option("--pairs", a->options.pairs, "Pairs of each group, instead of the file's")
      ->check(CLI::Range(1, 100000));
  command->add_option("--report", a->report, "Folder for promises.md and promises/")->capture_default_str();
  add_threads(*command, a->options.threads);
  command->footer(
      "examples:\n  heddle promise attend_and_excite --pairs 32 --report report\n  heddle promise plain\n"
      "docs/promises.md of this repository was written so; each section says its command. docs/promise_files.md says "
      "what stands in a promise.");
  command->callback([a] {
    catch_interrupts();
    const std::vector<std::string> names = a->name == "all" ? promise_names() : std::vector{a->name};
    for (const std::string& name : names) measure(name, a->options, a->report);
  });
}

}  // namespace heddle::cli
