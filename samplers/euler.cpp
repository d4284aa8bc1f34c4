// Euler's method on the probability-flow ODE: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
// Generative Models", algorithm 2 without churn; and on a rectified flow, with fresh noise where the config says so.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_euler(const Denoise& denoise, Tensor x, const Run& run) {
  const SchedulerConfig& config = run.schedule.config;
  for (int i = run.begin; i < end_of(run); ++i) {
    const double sigma = run.schedule.sigmas[static_cast<size_t>(i)],
                 next = run.schedule.sigmas[static_cast<size_t>(i) + 1];
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    if (config.stochastic) {
      x = weighted_sum(1 - next, clean, next, run.noise(x.shape()));
    } else if (config.flow) {
      x = weighted_sum(1, x, next - sigma, slope_from(output, clean, x, run, i));
    } else {
      x = weighted_sum(next / sigma, x, 1 - next / sigma, clean);  // x + (x - clean) / sigma * (next - sigma)
    }
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
