// The noise levels that a network was trained on.
#pragma once

#include <vector>

#include "samplers/scheduler_config.h"

namespace heddle {

// alpha-bar of each training timestep, in f32 as torch computes it: x_t = sqrt(a) x_0 + sqrt(1 - a) noise.
std::vector<float> alphas_cumprod(const SchedulerConfig& config);

}  // namespace heddle
