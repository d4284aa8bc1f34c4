// From a clean picture back to the noise that a deterministic run makes it from.
#pragma once

#include <functional>
#include <vector>

#include "samplers/sampler.h"

namespace heddle {

enum class Inversion : uint8_t {
  ddim,         // DDIM's own step upwards, with the answer at the lower level (Song et al. 2021; diffusers'
                // DDIMInverseScheduler)
  fixed_point,  // solves for the state from which DDIM's step leads here (Pan et al. 2023, AIDI), by iteration
  second_order  // the mean of the answers at both ends of a step (trapezoid rule on the probability-flow ODE)
};

struct InversionRun {
  const Schedule& schedule;  // of the solver DDIM with eta 0, else Error(usage)
  Inversion method = Inversion::fixed_point;
  int iterations = 10;  // of fixed_point
  std::function<void(int done, int steps)> on_step = {};
};

// `clean` f32 -> states[i] before evaluation i, and states.back() the clean picture itself. `denoise` is what the run
// will use: for exact reconstruction with the same guidance.
std::vector<Tensor> invert(const Denoise& denoise, const Tensor& clean, const InversionRun& run);

}  // namespace heddle
