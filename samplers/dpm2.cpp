// DPM-Solver-2 in Karras et al.'s form, as in k-diffusion: the slope in the middle of a step, in log sigma, leads over
// the whole of it (Lu et al. 2022, "DPM-Solver"; Karras et al. 2022, algorithm 2). The ancestral form steps to below
// the next level and adds fresh noise. The last step, to sigma 0, is Euler's.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"
#include "samplers/sigmas.h"

namespace heddle {

Tensor sample_dpm2(const Denoise& denoise, Tensor x, const Run& run) {
  const bool adds_noise = run.schedule.config.solver == Solver::dpm2_ancestral;
  const auto sigma_at = [&](int i) { return run.schedule.sigmas[static_cast<size_t>(i)]; };
  for (int i = run.begin; i < end_of(run); i += 2) {
    const double sigma = sigma_at(i), middle = sigma_at(i + 1);
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor guess = weighted_sum(middle / sigma, x, 1 - middle / sigma, clean);
    Tensor there = finished(guess, clean, run, i);
    if (i + 1 == end_of(run)) return there;

    const double next = sigma_at(i + 2);
    const Ancestral step = adds_noise ? ancestral(sigma, next) : Ancestral{next, 0};
    there = begun(there, run, i + 1);
    const Tensor output_there = network_output(denoise, there, run, i + 1);
    const Tensor clean_there = clean_from(output_there, there, run, i + 1);
    const Tensor d_there = slope_from(output_there, clean_there, there, run, i + 1);
    // x + (step.down - sigma) d_there, without the difference of two terms that grow with sigma.
    const Tensor moved = weighted_sum(1, there, -1, guess);  // by whoever acts between evaluations
    const Tensor bend = weighted_sum(1, weighted_sum(1, clean_there, -1, clean), -1, moved);
    x = weighted_sum(1, weighted_sum(1, clean, sigma / middle, bend), step.down, d_there);
    if (adds_noise) x = weighted_sum(1, x, step.up, run.noise(x.shape()));
    x = finished(x, clean_there, run, i + 1);
  }
  return x;
}

}  // namespace heddle
