// Chooses the solver, and what all solvers share.
#include "samplers/sampler.h"

#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/parameterization.h"

namespace heddle {

Tensor begun(const Tensor& x, const Run& run, int index) {
  return run.before ? run.before(run.schedule.evaluations[static_cast<size_t>(index)], x) : x;
}

Tensor network_input(const Schedule& schedule, const Tensor& x, int index) {
  if (schedule.config.flow) return x;
  const Level level = schedule.level(index);
  const SchedulerConfig& config = schedule.config;
  const double r = std::hypot(config.edm ? config.sigma_data : level.signal, level.noise);  // else often 1
  return std::abs(r - 1) < 1e-9 ? x : scale(x, 1 / r);
}

Tensor network_output(const Denoise& denoise, const Tensor& x, const Run& run, int index) {
  const Tensor output = to(
      denoise(network_input(run.schedule, x, index), run.schedule.evaluations[static_cast<size_t>(index)]), DType::f32);
  if (!(output.shape() == x.shape()))
    fail(ErrorCode::internal, "sampler", "an answer of shape " + x.shape().text(), output.shape().text());
  return output;
}

Tensor clean_from(const Tensor& output, const Tensor& x, const Run& run, int index) {
  const SchedulerConfig& config = run.schedule.config;
  const Level level = run.schedule.level(index);
  return limited(
      config.edm ? preconditioned(config, output, x, level.noise) : clean_estimate(config.prediction, output, x, level),
      config);
}

bool names_slope(const SchedulerConfig& config) {
  return config.flow ||
         (config.prediction == Prediction::epsilon && config.clean_limit == CleanLimit::none && !config.edm);
}

Tensor slope_from(const Tensor& output, const Tensor& clean, const Tensor& x, const Run& run, int index) {
  if (run.schedule.config.flow) return velocity(run.schedule.config.prediction, output);
  if (names_slope(run.schedule.config)) return output;
  const double sigma = run.schedule.sigmas[static_cast<size_t>(index)];
  return weighted_sum(1 / sigma, x, -1 / sigma, clean);
}

Tensor finished(const Tensor& x, const Tensor& clean, const Run& run, int index) {
  return run.on_step ? run.on_step(run.schedule.evaluations[static_cast<size_t>(index)], x, clean) : x;
}

int end_of(const Run& run) {
  return static_cast<int>(run.schedule.evaluations.size());
}

bool draws_noise(const SchedulerConfig& config) {
  const bool sde =
      config.algorithm == DpmAlgorithm::sde_dpmsolver || config.algorithm == DpmAlgorithm::sde_dpmsolver_pp;
  const bool by_eta = config.solver == Solver::ddim || config.solver == Solver::tcd;
  const bool dpm = config.solver == Solver::dpm_multistep || config.solver == Solver::dpm_singlestep;
  return (by_eta && config.eta > 0) || config.solver == Solver::ddpm || config.solver == Solver::lcm ||
         config.solver == Solver::euler_ancestral || config.solver == Solver::dpm2_ancestral || (dpm && sde) ||
         (config.solver == Solver::euler && config.stochastic);
}

Tensor sample(const Denoise& denoise, const Tensor& x, const Run& run) {
  if (run.begin < 0 || run.begin >= end_of(run)) {
    fail(ErrorCode::internal, "sampler", "a first evaluation below " + std::to_string(end_of(run)),
         std::to_string(run.begin));
  }
  if (draws_noise(run.schedule.config) && !run.noise) fail(ErrorCode::internal, "sampler", "a noise source", "none");
  const Tensor start = to(x, DType::f32);
  switch (run.schedule.config.solver) {
    case Solver::ddim:
      return sample_ddim(denoise, start, run);
    case Solver::ddpm:
      return sample_ddpm(denoise, start, run);
    case Solver::pndm:
      return sample_pndm(denoise, start, run);
    case Solver::lcm:
      return sample_lcm(denoise, start, run);
    case Solver::euler:
      return sample_euler(denoise, start, run);
    case Solver::euler_ancestral:
      return sample_euler_ancestral(denoise, start, run);
    case Solver::heun:
      return sample_heun(denoise, start, run);
    case Solver::lms:
      return sample_lms(denoise, start, run);
    case Solver::dpm_multistep:
      return sample_dpm_multistep(denoise, start, run);
    case Solver::dpm_singlestep:
      return sample_dpm_singlestep(denoise, start, run);
    case Solver::deis:
      return sample_deis(denoise, start, run);
    case Solver::dpm2:
    case Solver::dpm2_ancestral:
      return sample_dpm2(denoise, start, run);
    case Solver::tcd:
      return sample_tcd(denoise, start, run);
    case Solver::unipc:
      return sample_unipc(denoise, start, run);
    case Solver::rf2:
      return sample_rf2(denoise, start, run);
    case Solver::fireflow:
      return sample_fireflow(denoise, start, run);
  }
  fail(ErrorCode::internal, "sampler", "a known solver", "another");
}

}  // namespace heddle
