// heddle bench: time, memory and arithmetic of one component; one JSON line.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/memory.h"
#include "pipelines/component.h"

namespace heddle::cli {
namespace {

struct Arguments {
  std::string component, inputs, dtype = "f32";
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
  const auto component = Component::load(a.component, dtype_named(a.dtype));
  const TensorMap inputs = bench_inputs(*component, a);
  const int64_t before = flops_counted();
  seconds_of(*component, inputs);  // the first run plans its kernels
  const int64_t flops = flops_counted() - before;
  std::vector<double> seconds;
  for (int i = 0; i < a.repeat; ++i) seconds.push_back(seconds_of(*component, inputs));
  std::sort(seconds.begin(), seconds.end());
  const nlohmann::ordered_json line{{"component", component->class_name()},
                                    {"median_s", seconds[seconds.size() / 2]},
                                    {"min_s", seconds.front()},
                                    {"peak_rss_bytes", peak_resident_bytes()},
                                    {"peak_tensor_bytes", memory_stats().peak},
                                    {"flops", flops},
                                    {"threads", threads()},
                                    {"dtype", a.dtype},
                                    {"vjp", a.vjp}};
  std::cout << line.dump() << std::endl;
}

}  // namespace

void add_bench(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("bench", "Time a component on named tensors; prints one JSON line");
  command->add_option("--component", a->component, "Component folder, as for eval")->required();
  command->add_option("--inputs", a->inputs, "safetensors file with the inputs")->required();
  add_dtype(*command, a->dtype);
  add_threads(*command, a->threads);
  command->add_option("--repeat", a->repeat, "Counted runs after one that is not")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_flag("--vjp", a->vjp, "Forward and gradient together");
  command->callback([a] { bench_component(*a); });
}

}  // namespace heddle::cli
