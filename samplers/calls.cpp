// One function for each pattern of calls.
#include "samplers/calls.h"

#include <string>

#include "kernels/core/error.h"

namespace heddle {

std::vector<Call> heun_calls(std::span<const double> timesteps) {
  std::vector<Call> calls;
  const int count = static_cast<int>(timesteps.size());
  for (int i = 0; i < count; ++i) {
    if (i > 0) calls.push_back({timesteps[i], i - 1, 1});
    calls.push_back({timesteps[i], i, 0});
  }
  return calls;
}

std::vector<Call> midpoint_calls(std::span<const double> timesteps, std::span<const double> middles) {
  std::vector<Call> calls;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    calls.push_back({timesteps[i], static_cast<int>(i), 0});
    if (i < middles.size()) calls.push_back({middles[i], static_cast<int>(i), 1});
  }
  return calls;
}

std::vector<Call> pndm_calls(const SchedulerConfig& config, std::span<const double> timesteps, int64_t ratio) {
  std::vector<Call> calls;
  const int count = static_cast<int>(timesteps.size());
  if (config.skip_prk_steps) {
    for (int i = 0; i < count; ++i) {
      if (i == 1) calls.push_back({timesteps[1], 0, 1});
      calls.push_back({timesteps[i], i, 0});
    }
    return calls;
  }
  if (count < 4)
    fail(ErrorCode::usage, "sampler.steps", "at least 4 for pndm with Runge-Kutta steps", std::to_string(count),
         "skip_prk_steps: true");
  const double half = static_cast<double>(ratio / 2);
  for (int i = 0; i < 3; ++i) {
    calls.push_back({timesteps[i], i, 0});
    calls.push_back({timesteps[i + 1] + half, i, 1});
    calls.push_back({timesteps[i + 1] + half, i, 2});
    calls.push_back({timesteps[i + 1], i, 3});
  }
  for (int i = 3; i < count; ++i) calls.push_back({timesteps[i], i, 0});
  return calls;
}

std::vector<Call> flow_calls(const SchedulerConfig& config, std::span<const double> step_sigmas) {
  std::vector<Call> calls;
  const auto add = [&](double sigma, int step, int stage) {
    const double share = config.prediction == Prediction::reverse_flow ? 1 - sigma : sigma;
    const auto timestep = static_cast<float>(share * static_cast<double>(config.num_train_timesteps));
    calls.push_back({timestep, step, stage, sigma});
  };
  const int steps = static_cast<int>(step_sigmas.size()) - 1;
  for (int i = 0; i < steps; ++i) {
    const double here = step_sigmas[i], next = step_sigmas[i + 1], middle = (here + next) / 2;
    if (config.solver != Solver::fireflow || i == 0) add(here, i, 0);
    if (config.solver == Solver::heun && i + 1 < steps) add(next, i, 1);
    if (config.solver == Solver::rf2 || config.solver == Solver::fireflow) add(middle, i, 1);
  }
  return calls;
}

}  // namespace heddle
