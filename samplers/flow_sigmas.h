// The shares of noise at the steps of a flow model's run: x = (1 - sigma) * clean + sigma * normal.
#pragma once

#include "samplers/schedule.h"
#include "samplers/sigmas.h"

namespace heddle {

// As FlowMatchEulerDiscreteScheduler has it, or for DPM-Solver and UniPC as those have it with use_flow_sigmas. The
// table of alpha-bar is read only where the config takes a sigma from it. Error(usage) for sigmas that are no falling
// numbers in (0, 1], or for a dynamic shift without image_tokens.
SigmaPath flow_sigma_path(const SchedulerConfig& config, const StepRequest& request,
                          std::span<const float> alphas_cumprod);

}  // namespace heddle
