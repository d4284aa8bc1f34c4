// heddle bench: time, memory and arithmetic of one component; one JSON line.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"
#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/memory.h"
#include "pipelines/component.h"

namespace heddle::cli {
namespace {

struct Arguments {
  std::string component, config, inputs, dtype = "f32";
  int threads = 0, repeat = 5;
  bool vjp = false;
};

double seconds_of(const Component& component, const TensorMap& inputs) {
  const auto start = std::chrono::steady_clock::now();
  component.run(inputs);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

TensorMap bench_inputs(const Component& component, const Arguments& a) {
  TensorMap inputs = read_safetensors(a.inputs);
  if (!a.vjp) {
    inputs.erase("cotangent");
  } else if (!inputs.contains("cotangent")) {
    const TensorMap outputs = component.run(inputs);
    if (outputs.size() != 1) fail(ErrorCode::usage, "bench --vjp", "a tensor cotangent among the inputs", "none");
    inputs["cotangent"] = Tensor::full(outputs.begin()->second.shape(), 1);
  }
  return inputs;
}

void bench_component(const Arguments& a) {
  set_threads(a.threads);
  const auto component = Component::load(a.component, dtype_named(a.dtype), a.config);
  const TensorMap inputs = bench_inputs(*component, a);
  const int64_t before = flops_counted();
  seconds_of(*component, inputs);  // the first run plans its kernels
  const int64_t flops = flops_counted() - before;
  std::vector<double> seconds;
  for (int i = 0; i < a.repeat; ++i) seconds.push_back(seconds_of(*component, inputs));
  std::sort(seconds.begin(), seconds.end());
  nlohmann::ordered_json line{{"component", component->class_name()},
                              {"median_s", seconds[seconds.size() / 2]},
                              {"min_s", seconds.front()},
                              {"peak_rss_bytes", peak_resident_bytes()},
                              {"peak_tensor_bytes", memory_stats().peak},
                              {"flops", flops},
                              {"threads", threads()},
                              {"dtype", a.dtype},
                              {"vjp", a.vjp}};
  if (a.vjp) {
    TensorMap forward = inputs;
    forward.erase("cotangent");
    std::vector<double> alone;
    for (int i = 0; i < a.repeat; ++i) alone.push_back(seconds_of(*component, forward));
    line["forward_min_s"] = *std::min_element(alone.begin(), alone.end());
  }
  std::cout << line.dump() << std::endl;
}

void bench_preset(const RunRequest& request, int repeat) {
  std::vector<StageSeconds> runs;
  std::vector<double> totals;
  int64_t flops = 0;
  for (int i = 0; i < repeat; ++i) {
    const OpenRun run = open_run(request);
    const int64_t before = flops_counted();
    runs.push_back(generate(run.preset, run.path, *run.model, {}).seconds);
    flops = flops_counted() - before;
    totals.push_back(runs.back().load + runs.back().text + runs.back().steps + runs.back().decode);
  }
  const auto median = [&](auto value) {
    std::vector<double> sorted;
    for (const StageSeconds& run : runs) sorted.push_back(value(run));
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  };
  std::sort(totals.begin(), totals.end());
  const nlohmann::ordered_json line{{"preset", request.preset},
                                    {"median_s", totals[totals.size() / 2]},
                                    {"min_s", totals.front()},
                                    {"load_s", median([](const StageSeconds& s) { return s.load; })},
                                    {"text_s", median([](const StageSeconds& s) { return s.text; })},
                                    {"steps_s", median([](const StageSeconds& s) { return s.steps; })},
                                    {"decode_s", median([](const StageSeconds& s) { return s.decode; })},
                                    {"peak_rss_bytes", peak_resident_bytes()},
                                    {"flops", flops},
                                    {"threads", threads()}};
  std::cout << line.dump() << std::endl;
}

}  // namespace

void add_bench(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("bench", "Time a component on named tensors, or a whole preset; prints one JSON line");
  CLI::Option* component = command->add_option("--component", a->component, "Component, as for eval");
  add_config(*command, a->config);
  command->add_option("--inputs", a->inputs, "safetensors file with the inputs")->needs(component);
  add_dtype(*command, a->dtype);
  add_threads(*command, a->threads);
  command->add_option("--repeat", a->repeat, "Counted runs; a component has one before that is not counted")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_flag("--vjp", a->vjp, "Forward and gradient together");
  auto request = std::make_shared<RunRequest>();
  CLI::App* preset = command->add_subcommand(
      "preset", "A whole run: seconds per stage (load, text, steps, decode), floating-point operations");
  add_run_options(*preset, *request);
  preset->add_option("--repeat", a->repeat, "Runs")->check(CLI::Range(1, 10000))->capture_default_str();
  preset->callback([request, a] { bench_preset(*request, a->repeat); });
  command->callback([a, preset] {
    if (preset->parsed()) return;
    if (a->component.empty() || a->inputs.empty())
      fail(ErrorCode::usage, "bench", "--component and --inputs, or `bench preset FILE`", "neither");
    bench_component(*a);
  });
}

}  // namespace heddle::cli
