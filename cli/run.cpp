// heddle run: one preset, one picture or several.
#include "cli/run.h"

#include <spdlog/spdlog.h>

#include <iostream>

#include "attention_control/plugins/registry.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "io/png.h"
#include "io/preset_file.h"
#include "kernels/core/device.h"
#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "pipelines/outputs.h"

namespace heddle::cli {

OpenRun open_run(const RunRequest& request) {
  OpenRun run{.preset = read_preset(request.preset, request.set, {.methods = method_names()}),
              .path = request.preset,
              .model = nullptr};
  if (!request.output.empty()) run.preset.output = request.output;
  set_threads(run.preset.threads);
  set_memory_budget(run.preset.memory_budget ? run.preset.memory_budget->bytes : 0);
  run.model = Model::of(run.preset, run.path);
  return run;
}

void add_run_options(CLI::App& command, RunRequest& request) {
  command.add_option("preset", request.preset, "YAML preset")->required();
  command.add_option("--set", request.set, "key=value laid over the preset, any key path: --set sampler.steps=10")
      ->allow_extra_args(false);
}

namespace {

void run_preset(const RunRequest& request) {
  const OpenRun run = open_run(request);
  catch_interrupts();
  Progress progress("step");
  RunEvents events;
  events.on_step = [&](int done, int total) { progress.step(done, total); };
  events.cancelled = interrupted;
  if (run.preset.preview) events.on_preview = [&](const Image& image) { write_png(run.preset.preview->file, image); };
  const RunResult result = generate(run.preset, run.path, *run.model, events);
  progress.finish();
  spdlog::info("seconds: load {:.2f}, text {:.2f}, steps {:.2f}, decode {:.2f}; peak of tensors {:.0f} MiB",
               result.seconds.load, result.seconds.text, result.seconds.steps, result.seconds.decode,
               static_cast<double>(memory_stats().peak) / (1 << 20));
  for (const std::string& path : write_outputs(result)) std::cout << path << std::endl;
  if (result.cancelled) fail(ErrorCode::cancelled, "run", "all steps", "an interrupt; what was done is written");
}

}  // namespace

void add_run(CLI::App& app) {
  auto request = std::make_shared<RunRequest>();
  CLI::App* command = app.add_subcommand("run", "Make the picture that a preset asks for; prints the files written");
  add_run_options(*command, *request);
  command->add_option("-o,--output", request->output, "Where the picture goes (default: the preset's `output`)");
  command->footer(
      "examples:\n"
      "  heddle run presets/hello.yaml -o hello.png\n"
      "  heddle run presets/hello.yaml --set seed=7 --set prompt=\"a panda on snow\"\n"
      "  heddle run presets/rf_edit.yaml -o cat.png    # changes a picture as another prompt asks\n"
      "a preset is a YAML file; docs/presets.md has every key:\n"
      "  heddle: 1\n  model: emoji-unet        # a model that ships, a diffusers folder, or one safetensors file\n  "
      "prompt: \"a cat on "
      "grass\"\n"
      "  sampler: {name: ddim, steps: 30, guidance: 5}\n"
      "Ctrl-C finishes the step and keeps the picture so far as NAME-cancelled.png; while an edit inverts there is "
      "none.");
  command->callback([request] { run_preset(*request); });
}

}  // namespace heddle::cli
