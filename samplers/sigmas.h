// Noise over signal at the steps of solvers that walk on it.
#pragma once

#include <span>
#include <vector>

#include "samplers/scheduler_config.h"

namespace heddle {

struct SigmaPath {
  std::vector<double> sigmas;                     // one for each step and one for the end, each an f32 value
  std::vector<double> timesteps;                  // one for each step
  std::vector<double> middles, middle_timesteps;  // of DPM-Solver-2, inside each step but the last
};

// A step of k-diffusion's ancestral DPM-Solver-2 from `sigma`: deterministic to `down`, then fresh noise of deviation
// `up`, which makes it `next`. In f32, as
// diffusers has its table, since little is left of `down` where a step is long; where nothing is, in double.
struct Ancestral {
  double down, up;
};
Ancestral ancestral(double sigma, double next);

// `timesteps` are the spaced ones. Where the config spaces sigmas itself the timesteps follow from the sigmas.
SigmaPath sigma_path(const SchedulerConfig& config, int steps, std::span<const double> timesteps,
                     std::span<const float> alphas_cumprod);

// Of EDM's classes.
SigmaPath edm_sigma_path(const SchedulerConfig& config, int steps);

// From sigma_max to sigma_min, spaced as the config says.
std::vector<double> spaced_sigmas(const SchedulerConfig& config, int steps, double sigma_max, double sigma_min);

}  // namespace heddle
