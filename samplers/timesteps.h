// Which of the training timesteps a run visits.
#pragma once

#include <span>
#include <vector>

#include "samplers/schedule.h"

namespace heddle {

// numpy.linspace(first, last, count): one value is `first`.
std::vector<double> linspace(double first, double last, int64_t count);

// From noisy to clean, rounded as the config's class in diffusers does: whole for solvers that walk on timesteps and
// for DPM-Solver and UniPC, f32 for Euler and its kin.
std::vector<double> spaced_timesteps(const SchedulerConfig& config, const StepRequest& request,
                                     std::span<const float> alphas_cumprod);

}  // namespace heddle
