// From a clean picture back to the noise that a deterministic run makes it from.
#pragma once

#include <functional>
#include <vector>

#include "samplers/sampler.h"

namespace heddle {

enum class Inversion : uint8_t {
  ddim,          // DDIM's own step upwards, with the answer at the lower level (Song et al. 2021; diffusers'
                 // DDIMInverseScheduler)
  fixed_point,   // solves for the state from which DDIM's step leads here (Pan et al. 2023, AIDI), by iteration
  second_order,  // the mean of the answers at both ends of a step (trapezoid rule on the probability-flow ODE)
  solver         // the run's own, with rising sigmas: a flow's euler, heun, rf2 or fireflow
};

struct InversionRun {
  const Schedule& schedule;  // of the solver DDIM with eta 0, or a flow's without fresh noise; else Error(usage)
  Inversion method = Inversion::fixed_point;
  int iterations = 10;  // of fixed_point
  std::function<void(int done, int steps)> on_step = {};
};

// `clean` f32 -> states[i] before evaluation i, and states.back() the clean picture itself. `denoise` is what the run
// will use: for exact reconstruction with the same guidance. It is told of Direction::invert, and of the number that a
// step has in the run. Of a flow: solver, or with euler fixed_point; else Error(usage).
std::vector<Tensor> invert(const Denoise& denoise, const Tensor& clean, const InversionRun& run);

}  // namespace heddle
