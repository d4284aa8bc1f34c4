// Multistep consistency sampling: Luo et al. 2023, "Latent Consistency Models", algorithm 3 and eq. 9.
#include <cmath>

#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_lcm(const Denoise& denoise, Tensor x, const Run& run) {
  constexpr double sigma_data = 0.5;
  const Schedule& schedule = run.schedule;
  for (int i = run.begin; i < end_of(run); ++i) {
    const double scaled = schedule.evaluations[static_cast<size_t>(i)].timestep * schedule.config.timestep_scaling;
    const double c_skip = sigma_data * sigma_data / (scaled * scaled + sigma_data * sigma_data);
    const double c_out = scaled / std::hypot(scaled, sigma_data);

    x = begun(x, run, i);
    const Tensor estimate = clean_from(network_output(denoise, x, run, i), x, run, i);
    const Tensor clean = weighted_sum(c_out, estimate, c_skip, x);
    x = i + 1 < end_of(run) ? add_noise(schedule, clean, run.noise(x.shape()), i + 1) : clean;
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
