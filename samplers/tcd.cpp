// Strategic stochastic sampling of trajectory consistency models: Zheng et al. 2024, "Trajectory Consistency
// Distillation", algorithm 4. The config's eta is the paper's gamma.
#include <cmath>

#include "kernels/ops/elementwise.h"
#include "samplers/parameterization.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_tcd(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const double eta = schedule.config.eta;
  for (int i = run.begin; i < end_of(run); ++i) {
    const bool last = i + 1 == end_of(run);
    const double next = last ? 0 : schedule.evaluations[static_cast<size_t>(i) + 1].timestep;
    // In f32, in which diffusers multiplies: the floor decides.
    const auto s = static_cast<int64_t>(std::floor(static_cast<float>(1 - eta) * static_cast<float>(next)));
    const double a_s = schedule.alpha_bar(s), a_next = schedule.alpha_bar(static_cast<int64_t>(next));

    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor noise = noise_estimate(schedule.config.prediction, output, x, schedule.level(i));
    x = weighted_sum(std::sqrt(a_s), clean, std::sqrt(1 - a_s), noise);
    if (eta > 0 && !last)
      x = weighted_sum(std::sqrt(a_next / a_s), x, std::sqrt(1 - a_next / a_s), run.noise(x.shape()));
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
