// Which steps and stages the calls of the network belong to.
#pragma once

#include <span>
#include <vector>

#include "samplers/schedule.h"

namespace heddle {

struct Call {
  double timestep = 0;
  int step = 0;
  int stage = 0;
  double sigma = 0;  // of flows
};

// Each step but the last looks a second time where the first look led (Karras et al. 2022, algorithm 1).
std::vector<Call> heun_calls(std::span<const double> timesteps);

// Each step but the last looks a second time at its middle.
std::vector<Call> midpoint_calls(std::span<const double> timesteps, std::span<const double> middles);

// Liu et al. 2022: either three Runge-Kutta steps of four evaluations, at half steps of `ratio`, then linear multistep;
// or, for skip_prk_steps, linear multistep whose first step is improved by an evaluation at its end. Error(usage) for
// fewer than four steps with Runge-Kutta.
std::vector<Call> pndm_calls(const SchedulerConfig& config, std::span<const double> timesteps, int64_t ratio);

// Of a flow's solver, for steps between these sigmas in either direction.
std::vector<Call> flow_calls(const SchedulerConfig& config, std::span<const double> step_sigmas);

}  // namespace heddle
