// Euler's method on the probability-flow ODE: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
// Generative Models", algorithm 2 without churn.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_euler(const Denoise& denoise, Tensor x, const Run& run) {
  for (int i = run.begin; i < end_of(run); ++i) {
    const double sigma = run.schedule.sigmas[static_cast<size_t>(i)],
                 next = run.schedule.sigmas[static_cast<size_t>(i) + 1];
    x = begun(x, run, i);
    const Tensor clean = clean_from(network_output(denoise, x, run, i), x, run, i);
    x = weighted_sum(next / sigma, x, 1 - next / sigma, clean);  // x + (x - clean) / sigma * (next - sigma)
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
