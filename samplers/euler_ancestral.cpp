// Euler's method to below the next level, and fresh noise up to it: k-diffusion's ancestral sampling after Ho et al.
// 2020.
#include <algorithm>
#include <cmath>

#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_euler_ancestral(const Denoise& denoise, Tensor x, const Run& run) {
  for (int i = run.begin; i < end_of(run); ++i) {
    const double sigma = run.schedule.sigmas[static_cast<size_t>(i)],
                 next = run.schedule.sigmas[static_cast<size_t>(i) + 1];
    const double up = std::sqrt(std::max(next * next * (sigma * sigma - next * next), 0.0)) / sigma;
    const double down = std::sqrt(std::max(next * next - up * up, 0.0));

    x = begun(x, run, i);
    const Tensor clean = clean_from(network_output(denoise, x, run, i), x, run, i);
    x = weighted_sum(down / sigma, x, 1 - down / sigma, clean);
    x = weighted_sum(1, x, up, run.noise(x.shape()));
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
