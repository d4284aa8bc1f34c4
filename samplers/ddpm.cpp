// Ancestral sampling: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", eq. 6 and 7, with strides over
// timesteps.
#include <algorithm>
#include <cmath>

#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_ddpm(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  for (int i = run.begin; i < end_of(run); ++i) {
    const auto timestep = [&](int k) {
      return static_cast<int64_t>(schedule.evaluations[static_cast<size_t>(k)].timestep);
    };
    const double a = schedule.alpha_bar(timestep(i));
    const double a_next = i + 1 < end_of(run) ? schedule.alpha_bar(timestep(i + 1)) : 1;
    const double alpha = a / a_next, beta = 1 - alpha;

    x = begun(x, run, i);
    const Tensor clean = clean_from(network_output(denoise, x, run, i), x, run, i);
    x = weighted_sum(std::sqrt(a_next) * beta / (1 - a), clean, std::sqrt(alpha) * (1 - a_next) / (1 - a), x);
    if (timestep(i) > 0) {
      const double variance = schedule.config.large_variance ? beta : std::max((1 - a_next) / (1 - a) * beta, 1e-20);
      x = weighted_sum(1, x, std::sqrt(variance), run.noise(x.shape()));
    }
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
