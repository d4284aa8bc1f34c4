// Timestep spacings (Lin et al. 2023, table 2), with the rounding of each scheduler class, and that of LCM
// (Luo et al. 2023) and TCD.
#include "samplers/timesteps.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/core/error.h"

namespace heddle {
namespace {

// Training timesteps below the clipped half-log-SNR are left out (DPM-Solver with cosine schedules).
int64_t last_timestep(const SchedulerConfig& config, std::span<const float> alphas_cumprod) {
  int64_t count = config.num_train_timesteps;
  if (config.solver != Solver::dpm_multistep && config.solver != Solver::dpm_singlestep) return count;
  const auto lambda = [&](int64_t t) {
    return std::log(std::sqrt(alphas_cumprod[t])) - std::log(std::sqrt(1 - alphas_cumprod[t]));
  };
  while (count > 0 && lambda(count - 1) < config.lambda_min_clipped) --count;
  return count;
}

// numpy.arange(last, 0, -ratio).round() - 1. Where rounding makes arange one longer than `steps`, its surplus end,
// which would be timestep -1, is left out.
std::vector<double> trailing(int64_t last, double ratio) {
  const double first = static_cast<double>(last);
  const double delta = (first - ratio) - first;
  std::vector<double> timesteps;
  const int64_t count = static_cast<int64_t>(std::ceil(first / ratio));
  for (int64_t i = 0; i < count; ++i) {
    const double t = std::nearbyint(first + static_cast<double>(i) * delta) - 1;
    if (t >= 0) timesteps.push_back(t);
  }
  return timesteps;
}

std::vector<double> leading(int64_t ratio, int64_t count, int64_t offset) {
  std::vector<double> timesteps;
  for (int64_t i = count - 1; i >= 0; --i) timesteps.push_back(static_cast<double>(i * ratio + offset));
  return timesteps;
}

// A subset of the timesteps that the student was distilled on.
std::vector<double> distilled_timesteps(const SchedulerConfig& config, int steps, double strength) {
  const auto origin = static_cast<int64_t>(static_cast<double>(config.original_inference_steps) * strength);
  if (steps > origin) {
    const char* of = strength < 1 ? " (original_inference_steps times strength)" : " (original_inference_steps)";
    fail(ErrorCode::usage, "sampler.steps", "at most " + std::to_string(origin) + of + " for lcm and tcd",
         std::to_string(steps));
  }
  const int64_t ratio = config.num_train_timesteps / config.original_inference_steps;
  std::vector<double> timesteps;
  for (int i = 0; i < steps; ++i) {
    const double share = static_cast<double>(i) * (static_cast<double>(origin) / static_cast<double>(steps));
    const int64_t from_top = static_cast<int64_t>(std::floor(share));
    timesteps.push_back(static_cast<double>((origin - from_top) * ratio - 1));
  }
  return timesteps;
}

}  // namespace

std::vector<double> linspace(double first, double last, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  const double step = count > 1 ? (last - first) / static_cast<double>(count - 1) : 0;
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<double>(i) * step + first;
  if (count > 1) values.back() = last;
  return values;
}

std::vector<double> spaced_timesteps(const SchedulerConfig& config, const StepRequest& request,
                                     std::span<const float> alphas_cumprod) {
  const int steps = request.steps;
  if (config.solver == Solver::lcm || config.solver == Solver::tcd)
    return distilled_timesteps(config, steps, request.strength);
  const int64_t last = last_timestep(config, alphas_cumprod);
  if (last < 1)
    fail(ErrorCode::input, "scheduler", "lambda_min_clipped that leaves timesteps",
         std::to_string(config.lambda_min_clipped));
  const bool on_log_snr = walks_on_log_snr(config.solver);
  const bool whole = on_log_snr || walks_on_timesteps(config.solver);
  const int64_t points = on_log_snr ? steps + 1 : steps;  // these count the end in and leave it off

  switch (config.spacing) {
    case Spacing::trailing:
      return trailing(last, static_cast<double>(config.num_train_timesteps) / static_cast<double>(steps));
    case Spacing::leading: {
      std::vector<double> timesteps = leading(last / points, points, config.steps_offset);
      timesteps.resize(static_cast<size_t>(steps));
      return timesteps;
    }
    default: {
      std::vector<double> timesteps = linspace(0, static_cast<double>(last - 1), points);
      std::ranges::reverse(timesteps);
      timesteps.resize(static_cast<size_t>(steps));
      for (double& t : timesteps) t = whole ? std::nearbyint(t) : static_cast<double>(static_cast<float>(t));
      return timesteps;
    }
  }
}

}  // namespace heddle
