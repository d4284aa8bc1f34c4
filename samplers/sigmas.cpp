// Sigma spacings: the training table, Karras et al. 2022 eq. 5, exponential, beta (Lee et al. 2024), uniform
// half-log-SNR (Lu et al. 2022). In double where diffusers calls numpy, rounded to f32 at the end as there.
#include "samplers/sigmas.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"
#include "samplers/beta_quantile.h"
#include "samplers/timesteps.h"

namespace heddle {
namespace {

// numpy.log of an f32 as its AVX2 and AVX-512 code has it: a rational function whose last bit matters where a timestep
// between two neighbours of the table is truncated. x positive and normal.
float log_numpy(float x) {
  constexpr float numerator[] = {2.589979117907922693523e-02f, 3.808837741388407920751e-01f,
                                 1.480000633576506585156e+00f, 2.112677543073053063722e+00f,
                                 9.999999999999998702752e-01f, 0.0f};
  constexpr float denominator[] = {5.875095403124574342950e-03f, 1.546476374983906719538e-01f,
                                   9.864942958519418960339e-01f, 2.453006071784736363091e+00f,
                                   2.612677543073109236779e+00f, 1.0f};
  int exponent = 0;
  float y = std::frexp(x, &exponent);  // [0.5, 1)
  if (y <= 0.70710678118654752440f) {
    y += y;
    --exponent;
  }
  y -= 1;
  float p = 0, q = 0;
  for (float c : numerator) p = std::fma(p, y, c);
  for (float c : denominator) q = std::fma(q, y, c);
  return std::fma(static_cast<float>(exponent), 0.693147180559945309417232121458176568f, p / q);
}

// numpy.interp over positions 0, 1, 2, ...: the ends go on flat.
double interpolate(std::span<const float> table, double position) {
  const int64_t last = static_cast<int64_t>(table.size()) - 1;
  if (position <= 0) return table.front();
  if (position >= static_cast<double>(last)) return table.back();
  const int64_t low = static_cast<int64_t>(position);
  const double slope = static_cast<double>(table[low + 1]) - static_cast<double>(table[low]);
  return slope * (position - static_cast<double>(low)) + static_cast<double>(table[low]);
}

// The inverse in log sigma: the training timestep, between whole ones, whose sigma this is.
double timestep_of(double sigma, std::span<const float> log_table) {
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  const auto above = std::upper_bound(log_table.begin(), log_table.end(), log_sigma);
  const int64_t low = std::clamp<int64_t>(above - log_table.begin() - 1, 0, static_cast<int64_t>(log_table.size()) - 2);
  const double gap = log_table[low] - log_table[low + 1];  // an f32 difference
  if (gap == 0) return static_cast<double>(low);
  const double w = std::clamp((static_cast<double>(log_table[low]) - log_sigma) / gap, 0.0, 1.0);
  return (1 - w) * static_cast<double>(low) + w * static_cast<double>(low + 1);
}

// The whole timesteps that diffusers tells the network, by class and spacing.
double rounded(const SchedulerConfig& config, double timestep) {
  if (config.solver == Solver::dpm_multistep) {
    const bool rounds = config.sigma_spacing == SigmaSpacing::karras || config.sigma_spacing == SigmaSpacing::lu;
    return rounds && config.beta_schedule != BetaSchedule::cosine ? std::nearbyint(timestep) : std::trunc(timestep);
  }
  const bool karras = config.sigma_spacing == SigmaSpacing::karras;
  if (walks_on_log_snr(config.solver)) return karras ? std::nearbyint(timestep) : std::trunc(timestep);
  if (looks_at_middle(config.solver) && karras) return std::nearbyint(timestep);
  return static_cast<double>(static_cast<float>(timestep));
}

// Of each step but the last, which is Euler's.
void add_middles(const SchedulerConfig& config, SigmaPath& path, std::span<const float> log_table) {
  for (size_t i = 0; i + 2 < path.sigmas.size(); ++i) {
    const double here = path.sigmas[i];
    const double end =
        config.solver == Solver::dpm2_ancestral ? ancestral(here, path.sigmas[i + 1]).down : path.sigmas[i + 1];
    const auto middle = static_cast<float>(std::sqrt(here) * std::sqrt(end));
    path.middles.push_back(middle);
    path.middle_timesteps.push_back(static_cast<float>(timestep_of(middle, log_table)));
  }
}

}  // namespace

Ancestral ancestral(double sigma, double next) {
  const auto from = static_cast<float>(sigma), to = static_cast<float>(next);
  const float up = std::sqrt(to * to * (from * from - to * to) / (from * from));
  const float down = std::sqrt(to * to - up * up);
  return {down > 0 ? down : next * next / sigma, up};
}

std::vector<double> spaced_sigmas(const SchedulerConfig& config, int steps, double sigma_max, double sigma_min) {
  const double rho = config.rho;
  constexpr double alpha = 0.6, beta = 0.6;  // of the beta distribution
  std::vector<double> sigmas = linspace(0, 1, steps);
  const std::vector<double> logs = linspace(std::log(sigma_max), std::log(sigma_min), steps);
  for (size_t i = 0; i < sigmas.size(); ++i) {
    double& value = sigmas[i];
    if (config.sigma_spacing == SigmaSpacing::karras) {
      const double from = std::pow(sigma_max, 1 / rho), to = std::pow(sigma_min, 1 / rho);
      value = std::pow(from + value * (to - from), rho);
    } else if (config.sigma_spacing == SigmaSpacing::beta) {
      value = sigma_min + beta_quantile(1 - value, alpha, beta) * (sigma_max - sigma_min);
    } else {
      value = std::exp(logs[i]);
    }
  }
  return sigmas;
}

SigmaPath edm_sigma_path(const SchedulerConfig& config, int steps) {
  SigmaPath path{spaced_sigmas(config, steps, *config.sigma_max, *config.sigma_min), {}};
  for (double& sigma : path.sigmas) {
    sigma = static_cast<float>(sigma);
    path.timesteps.push_back(0.25f * std::log(static_cast<float>(sigma)));
  }
  path.sigmas.push_back(config.final_sigma_zero ? 0 : path.sigmas.back());
  return path;
}

SigmaPath sigma_path(const SchedulerConfig& config, int steps, std::span<const double> timesteps,
                     std::span<const float> alphas_cumprod) {
  std::vector<float> table, log_table;
  for (float a : alphas_cumprod) {
    table.push_back(std::sqrt((1 - a) / a));
    log_table.push_back(log_numpy(table.back()));
  }
  if (!std::isfinite(table.back()) || !(table.front() > 0)) {
    fail(ErrorCode::input, "scheduler", "betas whose noise over signal is finite and above 0",
         "a training timestep without noise or without signal");
  }

  SigmaPath path{{}, {timesteps.begin(), timesteps.end()}};
  for (double t : timesteps) path.sigmas.push_back(interpolate(table, t));
  if (config.log_linear) {
    // torch.linspace with one point more than steps: the last one stays in, before the end.
    path.sigmas.clear();
    for (double log_sigma : linspace(log_table.back(), log_table.front(), steps + 1)) {
      path.sigmas.push_back(static_cast<float>(std::exp(static_cast<float>(log_sigma))));
    }
  }
  const bool whole_table = walks_on_log_snr(config.solver);
  if (config.sigma_spacing != SigmaSpacing::table) {
    const bool lu = config.sigma_spacing == SigmaSpacing::lu;
    const double largest = whole_table ? table.back() : path.sigmas.front();
    const double smallest = whole_table ? table.front() : path.sigmas.back();
    path.sigmas = spaced_sigmas(config, steps, lu ? largest : config.sigma_max.value_or(largest),
                                lu ? smallest : config.sigma_min.value_or(smallest));
    path.timesteps.clear();
    for (double sigma : path.sigmas) path.timesteps.push_back(rounded(config, timestep_of(sigma, log_table)));
  }
  const bool from_path =
      (config.solver == Solver::unipc || config.solver == Solver::deis) && config.sigma_spacing != SigmaSpacing::table;
  path.sigmas.push_back(config.final_sigma_zero ? 0 : from_path ? path.sigmas.back() : table.front());
  for (double& sigma : path.sigmas) sigma = static_cast<float>(sigma);
  if (config.continuous_timesteps) {
    path.timesteps.clear();
    for (size_t i = 0; i + 1 < path.sigmas.size(); ++i)
      path.timesteps.push_back(static_cast<float>(0.25f * std::log(static_cast<float>(path.sigmas[i]))));
  }
  if (looks_at_middle(config.solver)) add_middles(config, path, log_table);
  return path;
}

}  // namespace heddle
