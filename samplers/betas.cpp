// Beta schedules of Ho et al. 2020 (linear), Rombach et al. 2022 (scaled), Nichol & Dhariwal 2021 (cosine) and kin;
// zero terminal signal-to-noise ratio by Lin et al. 2023, algorithm 1. f32 with torch's order of rounding.
#include "samplers/betas.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace heddle {
namespace {

// torch.linspace: from both ends to the middle, each product fused with its sum.
std::vector<float> linspace(double first, double last, int64_t count) {
  const float begin = static_cast<float>(first), end = static_cast<float>(last);
  const float step = (end - begin) / static_cast<float>(count - 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    values[i] = i < count / 2 ? std::fma(step, static_cast<float>(i), begin)
                              : std::fma(-step, static_cast<float>(count - 1 - i), end);
  }
  return values;
}

double alpha_bar(BetaSchedule schedule, double t) {
  switch (schedule) {
    case BetaSchedule::exponential:
      return std::exp(-12.0 * t);
    case BetaSchedule::laplace: {
      const double lambda = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::abs(0.5 - t) + 1e-6);
      const double snr = std::exp(lambda);
      return std::sqrt(snr / (1 + snr));
    }
    default: {
      const double cosine = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
      return cosine * cosine;
    }
  }
}

std::vector<float> betas_of(const SchedulerConfig& config) {
  const int64_t count = config.num_train_timesteps;
  if (!config.trained_betas.empty()) return {config.trained_betas.begin(), config.trained_betas.end()};
  switch (config.beta_schedule) {
    case BetaSchedule::linear:
      return linspace(config.beta_start, config.beta_end, count);
    case BetaSchedule::scaled_linear: {
      std::vector<float> betas = linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), count);
      for (float& beta : betas) beta *= beta;
      return betas;
    }
    case BetaSchedule::sigmoid: {
      std::vector<float> betas = linspace(-6, 6, count);
      const float range = static_cast<float>(config.beta_end - config.beta_start),
                  start = static_cast<float>(config.beta_start);
      for (float& beta : betas) beta = 1 / (1 + std::exp(-beta)) * range + start;
      return betas;
    }
    default: {
      constexpr double largest = 0.999;
      std::vector<float> betas;
      for (int64_t i = 0; i < count; ++i) {
        const double here = alpha_bar(config.beta_schedule, static_cast<double>(i) / static_cast<double>(count));
        const double next = alpha_bar(config.beta_schedule, static_cast<double>(i + 1) / static_cast<double>(count));
        betas.push_back(static_cast<float>(std::min(1 - next / here, largest)));
      }
      return betas;
    }
  }
}

std::vector<float> cumulative_product(const std::vector<float>& betas) {
  double product = 1;  // torch accumulates in double and rounds each
  std::vector<float> products;
  for (float beta : betas) {
    product *= 1 - beta;
    products.push_back(static_cast<float>(product));
  }
  return products;
}

// Shifts sqrt(alpha-bar) so that the last is 0, and scales it so that the first stays.
std::vector<float> with_zero_terminal_snr(const std::vector<float>& betas) {
  std::vector<float> roots = cumulative_product(betas);
  for (float& root : roots) root = std::sqrt(root);
  const float first = roots.front(), last = roots.back();
  for (float& root : roots) root = (root - last) * (first / (first - last));
  std::vector<float> rescaled;
  for (size_t i = 0; i < roots.size(); ++i) {
    const float here = roots[i] * roots[i];
    const float before = i == 0 ? 1 : roots[i - 1] * roots[i - 1];
    rescaled.push_back(1 - here / before);
  }
  return rescaled;
}

}  // namespace

std::vector<float> alphas_cumprod(const SchedulerConfig& config) {
  std::vector<float> betas = betas_of(config);
  if (config.rescale_betas_zero_snr) betas = with_zero_terminal_snr(betas);
  std::vector<float> products = cumulative_product(betas);
  // Solvers that divide noise by signal keep a trace of signal at the last timestep.
  const bool by_ratio = config.solver == Solver::euler || config.solver == Solver::euler_ancestral ||
                        config.solver == Solver::dpm_multistep || config.solver == Solver::unipc;
  if (config.rescale_betas_zero_snr && by_ratio) products.back() = 0x1p-24f;
  return products;
}

}  // namespace heddle
