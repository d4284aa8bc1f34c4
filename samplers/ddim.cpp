// DDIM: Song et al. 2021, "Denoising Diffusion Implicit Models", eq. 12 and 16.
#include <algorithm>
#include <cmath>

#include "kernels/ops/elementwise.h"
#include "samplers/parameterization.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_ddim(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const int64_t stride = schedule.config.num_train_timesteps / schedule.steps;
  for (int i = run.begin; i < end_of(run); ++i) {
    const int64_t t = static_cast<int64_t>(schedule.evaluations[static_cast<size_t>(i)].timestep);
    const double a = schedule.alpha_bar(t), a_next = schedule.alpha_bar(t - stride);

    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor noise = noise_estimate(schedule.config.prediction, output, x, schedule.level(i));

    const double deviation = schedule.config.eta * std::sqrt((1 - a_next) / (1 - a) * (1 - a / a_next));
    const double direction = std::sqrt(std::max(1 - a_next - deviation * deviation, 0.0));
    x = weighted_sum(std::sqrt(a_next), clean, direction, noise);
    if (schedule.config.eta > 0) x = weighted_sum(1, x, deviation, run.noise(x.shape()));
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
