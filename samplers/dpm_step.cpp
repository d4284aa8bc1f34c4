// Coefficients of DPM-Solver, DPM-Solver++ and their SDE forms: Lu et al. 2022, "DPM-Solver" and "DPM-Solver++".
#include "samplers/dpm_step.h"

#include <cmath>

#include "samplers/exponential.h"
#include "samplers/parameterization.h"

namespace heddle {

DpmStep dpm_step(const SchedulerConfig& config, Level here, Level next, double h, int order) {
  const bool data_form =
      config.algorithm == DpmAlgorithm::dpmsolver_pp || config.algorithm == DpmAlgorithm::sde_dpmsolver_pp;
  const bool sde =
      config.algorithm == DpmAlgorithm::sde_dpmsolver || config.algorithm == DpmAlgorithm::sde_dpmsolver_pp;
  const double z = data_form ? (sde ? -2 * h : -h) : h;
  const double gain = data_form ? next.signal : sde ? 2 * next.noise : next.noise;
  DpmStep c{};
  c.x = data_form ? next.noise / here.noise * (sde ? std::exp(-h) : 1) : next.signal / here.signal;
  c.d0 = -gain * std::expm1(z);
  c.d1 = order == 2 && !config.heun_type ? c.d0 / 2 : -gain * phi_2(z);
  c.d2 = -gain * (phi_3(z) + (sde ? 1 : 0));  // the SDE's term as diffusers has it
  c.fresh = !sde ? 0 : next.noise * std::sqrt(data_form ? -std::expm1(-2 * h) : std::expm1(2 * h));
  return c;
}

Tensor dpm_answer(const SchedulerConfig& config, const Tensor& output, const Tensor& clean, const Tensor& x,
                  Level level) {
  if (config.algorithm == DpmAlgorithm::dpmsolver_pp || config.algorithm == DpmAlgorithm::sde_dpmsolver_pp)
    return clean;
  if (config.clean_limit != CleanLimit::none) return noise_estimate(Prediction::sample, clean, x, level);
  return noise_estimate(config.prediction, output, x, level);
}

}  // namespace heddle
