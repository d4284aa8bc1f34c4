// RF-Solver of second order: Wang et al. 2025, "Taming Rectified Flow for Inversion and Editing", eq. 9 with the
// derivative of the velocity taken over half a step, where it is the explicit midpoint rule:
// x + h v + h^2 / 2 (v_mid - v) / (h / 2) = x + h v_mid.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_rf2(const Denoise& denoise, Tensor x, const Run& run) {
  const std::vector<double>& sigmas = run.schedule.sigmas;
  for (int i = run.begin; i < end_of(run); i += 2) {
    const double sigma = sigmas[static_cast<size_t>(i)], middle = sigmas[static_cast<size_t>(i) + 1],
                 next = sigmas[static_cast<size_t>(i) + 2];
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor v = slope_from(output, clean, x, run, i);
    Tensor half_way = finished(weighted_sum(1, x, middle - sigma, v), clean, run, i);

    half_way = begun(half_way, run, i + 1);
    const Tensor output_there = network_output(denoise, half_way, run, i + 1);
    const Tensor clean_there = clean_from(output_there, half_way, run, i + 1);
    const Tensor v_middle = slope_from(output_there, clean_there, half_way, run, i + 1);
    x = finished(weighted_sum(1, x, next - sigma, v_middle), clean_there, run, i + 1);
  }
  return x;
}

}  // namespace heddle
