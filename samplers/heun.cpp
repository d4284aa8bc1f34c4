// Heun's method on the probability-flow ODE: Karras et al. 2022, algorithm 1 (deterministic); the last step, to sigma
// 0, is Euler's.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_heun(const Denoise& denoise, Tensor x, const Run& run) {
  const auto derivative = [&](const Tensor& clean, const Tensor& at, double sigma) {
    return weighted_sum(1 / sigma, at, -1 / sigma, clean);
  };
  for (int i = run.begin; i < end_of(run); i += 2) {
    const double sigma = run.schedule.sigmas[static_cast<size_t>(i)],
                 next = run.schedule.sigmas[static_cast<size_t>(i) + 1];
    x = begun(x, run, i);
    const Tensor clean = clean_from(network_output(denoise, x, run, i), x, run, i);
    const Tensor d = derivative(clean, x, sigma);
    Tensor guess = finished(weighted_sum(1, x, next - sigma, d), clean, run, i);
    if (i + 1 == end_of(run)) return guess;
    guess = begun(guess, run, i + 1);

    const Tensor clean_there = clean_from(network_output(denoise, guess, run, i + 1), guess, run, i + 1);
    const Tensor d_there = derivative(clean_there, guess, next);
    x = weighted_sum(1, x, next - sigma, weighted_sum(0.5, d, 0.5, d_there));
    x = finished(x, clean_there, run, i + 1);
  }
  return x;
}

}  // namespace heddle
