// Shifted sigmas of rectified flows: Esser et al. 2024, "Scaling Rectified Flow Transformers", section 5.3.2; the
// dynamic shift of FLUX.1; the stretch to a terminal value of LTX-Video.
#include "samplers/flow_sigmas.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/core/error.h"
#include "samplers/timesteps.h"

namespace heddle {
namespace {

// The shifted ends of the training table, in f32 as torch computes them.
double end_of_table(const SchedulerConfig& config, float timestep) {
  const float sigma = timestep / static_cast<float>(config.num_train_timesteps);
  if (config.flow_shift.dynamic) return sigma;
  const auto shift = static_cast<float>(config.flow_shift.shift);
  return shift * sigma / (1 + static_cast<float>(config.flow_shift.shift - 1) * sigma);
}

void check_given(const SchedulerConfig& config, const StepRequest& request) {
  if (walks_on_log_snr(config.solver) && config.solver != Solver::unipc)
    fail(ErrorCode::usage, "sampler.sigmas", "none for DPM-Solver and DEIS", "a list", "another sampler");
  if (static_cast<int>(request.sigmas.size()) != request.steps)
    fail(ErrorCode::usage, "sampler.sigmas", std::to_string(request.steps) + ", as many as steps",
         std::to_string(request.sigmas.size()));
  double above = INFINITY;
  for (const double sigma : request.sigmas) {
    if (!(sigma > 0 && sigma <= 1 && sigma < above)) {
      fail(ErrorCode::usage, "sampler.sigmas", "falling numbers above 0 and at most 1", std::to_string(sigma));
    }
    above = sigma;
  }
}

// Where each class begins, before the shift.
std::vector<double> unshifted(const SchedulerConfig& config, const StepRequest& request) {
  const auto train = static_cast<double>(config.num_train_timesteps);
  std::vector<double> sigmas;
  if (!request.sigmas.empty()) {
    check_given(config, request);
    sigmas = request.sigmas;
    if (config.solver == Solver::unipc) return sigmas;
    for (double& sigma : sigmas) sigma = static_cast<float>(sigma);  // as diffusers' Euler takes them
  } else if (config.solver == Solver::unipc) {
    sigmas = linspace(1, 1 / train, request.steps + 1);
    sigmas.pop_back();
  } else if (walks_on_log_snr(config.solver)) {
    sigmas = linspace(1, 1 / train, request.steps + 1);
    std::ranges::reverse(sigmas);
    sigmas.pop_back();
    for (double& sigma : sigmas) sigma = 1 - sigma;
  } else {
    const double first = end_of_table(config, static_cast<float>(train)), last = end_of_table(config, 1);
    for (const double t : linspace(first * train, last * train, request.steps)) sigmas.push_back(t / train);
  }
  return sigmas;
}

// So that the last is `terminal`. A single step at pure noise has nothing to stretch.
void stretch(std::vector<double>& sigmas, double terminal) {
  const double factor = (1 - sigmas.back()) / (1 - terminal);
  if (factor == 0) return;
  for (double& sigma : sigmas) sigma = 1 - (1 - sigma) / factor;
}

double mu_of(const FlowShift& shift, int64_t image_tokens) {
  if (!shift.dynamic) return 0;
  if (image_tokens <= 0) {
    fail(ErrorCode::usage, "sampler.use_dynamic_shifting", "false where the number of image tokens is not known",
         "true", "sampler: {use_dynamic_shifting: false}");
  }
  return shift.mu(image_tokens);
}

std::vector<double> shifted_sigmas(const SchedulerConfig& config, const StepRequest& request) {
  const double mu = mu_of(config.flow_shift, request.image_tokens);
  std::vector<double> sigmas = unshifted(config, request);
  for (double& sigma : sigmas) sigma = config.flow_shift.shifted(sigma, mu);
  if (config.flow_shift.terminal > 0) stretch(sigmas, config.flow_shift.terminal);
  if (config.sigma_spacing != SigmaSpacing::table) {
    sigmas = spaced_sigmas(config, static_cast<int>(sigmas.size()), config.sigma_max.value_or(sigmas.front()),
                           config.sigma_min.value_or(sigmas.back()));
  }
  return sigmas;
}

double table_sigma(std::span<const float> alphas_cumprod, size_t timestep) {
  return std::sqrt((1 - alphas_cumprod[timestep]) / alphas_cumprod[timestep]);
}

// UniPC with Karras sigmas: those of its betas as shares of noise.
std::vector<double> karras_of_betas(const SchedulerConfig& config, int steps, std::span<const float> alphas_cumprod) {
  const double largest = table_sigma(alphas_cumprod, alphas_cumprod.size() - 1);
  std::vector<double> sigmas = spaced_sigmas(config, steps, config.sigma_max.value_or(largest),
                                             config.sigma_min.value_or(table_sigma(alphas_cumprod, 0)));
  for (double& sigma : sigmas) sigma /= sigma + 1;
  return sigmas;
}

}  // namespace

double FlowShift::mu(int64_t image_tokens) const {
  const double slope = (max_shift - base_shift) / static_cast<double>(max_tokens - base_tokens);
  return static_cast<double>(image_tokens) * slope + (base_shift - slope * static_cast<double>(base_tokens));
}

double FlowShift::shifted(double sigma, double mu) const {
  if (!dynamic) return shift * sigma / (1 + (shift - 1) * sigma);
  const double weight = linear ? mu : std::exp(mu);
  return weight / (weight + (1 / sigma - 1));
}

SigmaPath flow_sigma_path(const SchedulerConfig& config, const StepRequest& request,
                          std::span<const float> alphas_cumprod) {
  const bool unipc = config.solver == Solver::unipc, on_log_snr = walks_on_log_snr(config.solver);
  const bool of_betas = unipc && config.sigma_spacing == SigmaSpacing::karras;
  if (of_betas && !request.sigmas.empty())
    fail(ErrorCode::usage, "sampler.sigmas", "none with Karras sigmas", "a list");
  SigmaPath path{of_betas ? karras_of_betas(config, request.steps, alphas_cumprod) : shifted_sigmas(config, request),
                 {}};
  constexpr double trace = 1e-6;  // of signal, which UniPC keeps at its first step
  if (unipc && !of_betas && std::abs(path.sigmas.front() - 1) < trace) path.sigmas.front() -= trace;

  const auto train = static_cast<double>(config.num_train_timesteps);
  for (double& sigma : path.sigmas) {
    const double timestep = sigma * train;
    sigma = static_cast<float>(sigma);
    constexpr double rounding = 1e-6;  // of the shift in f32: 0.4 of 1 is 1.0000004, in diffusers too
    const bool in_range = sigma > 0 && (on_log_snr ? sigma < 1 : sigma < 1 + rounding);
    if (!in_range)
      fail(ErrorCode::input, "scheduler", "shifts that leave sigmas between 0 and 1", std::to_string(sigma));
    path.timesteps.push_back(on_log_snr ? std::trunc(timestep) : static_cast<float>(sigma * train));
  }
  const bool to_zero = config.final_sigma_zero || !on_log_snr;
  const double last = to_zero                                  ? 0
                      : unipc || config.solver == Solver::deis ? path.sigmas.back()
                                                               : table_sigma(alphas_cumprod, 0);
  path.sigmas.push_back(static_cast<float>(last));
  return path;
}

}  // namespace heddle
