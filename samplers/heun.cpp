// Heun's method on the probability-flow ODE: Karras et al. 2022, algorithm 1 (deterministic); the last step, to sigma
// 0, is Euler's. Of a flow too, along its velocity.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_heun(const Denoise& denoise, Tensor x, const Run& run) {
  const bool direct = names_slope(run.schedule.config);
  for (int i = run.begin; i < end_of(run); i += 2) {
    const double sigma = run.schedule.sigmas[static_cast<size_t>(i)],
                 next = run.schedule.sigmas[static_cast<size_t>(i) + 1];
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor d = slope_from(output, clean, x, run, i);
    const Tensor first =
        direct ? weighted_sum(1, x, next - sigma, d) : weighted_sum(next / sigma, x, 1 - next / sigma, clean);
    Tensor guess = finished(first, clean, run, i);
    if (i + 1 == end_of(run)) return guess;
    guess = begun(guess, run, i + 1);

    const Tensor output_there = network_output(denoise, guess, run, i + 1);
    const Tensor clean_there = clean_from(output_there, guess, run, i + 1);
    const Tensor d_there = slope_from(output_there, clean_there, guess, run, i + 1);
    const Tensor slopes = weighted_sum(0.5, d, 0.5, d_there);
    if (direct) {
      x = weighted_sum(1, x, next - sigma, slopes);
    } else {
      // The same without the difference of two terms that grow with sigma: their slopes come from clean estimates.
      const Tensor moved = weighted_sum(1, guess, -1, first);  // by whoever acts between evaluations
      const Tensor bend = weighted_sum(1, weighted_sum(1, clean_there, -1, clean), -1, moved);
      x = weighted_sum(1, weighted_sum(1, clean, next, slopes), sigma / next / 2, bend);
    }
    x = finished(x, clean_there, run, i + 1);
  }
  return x;
}

}  // namespace heddle
