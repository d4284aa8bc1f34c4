// DEIS: Zhang & Chen 2023, "Fast Sampling of Diffusion Models with Exponential Integrator", section 3.3: multistep with
// the noise as a polynomial in log rho, rho = noise / signal.
#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "kernels/ops/elementwise.h"
#include "samplers/parameterization.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

int order_at(const Run& run, int i, int answers) {
  const SchedulerConfig& config = run.schedule.config;
  const bool few = config.lower_order_final && end_of(run) < 15;
  const int order = std::min(config.solver_order, answers);
  return few ? std::min(order, end_of(run) - i) : order;
}

// Integral from `from` to `to` of the Lagrange polynomial in log rho that is 1 at log_nodes[j] and 0 at the others; at
// most three of them.
double coefficient(const std::vector<double>& log_nodes, size_t j, double from, double to) {
  double constant = 1, linear = 0, square = 0;  // the polynomial in log rho
  for (size_t k = 0; k < log_nodes.size(); ++k) {
    if (k == j) continue;
    const double slope = 1 / (log_nodes[j] - log_nodes[k]), offset = -log_nodes[k] * slope;
    square = square * offset + linear * slope;
    linear = linear * offset + constant * slope;
    constant *= offset;
  }
  const auto antiderivative = [&](double rho) {
    const double l = std::log(rho);
    return rho * (constant + linear * (l - 1) + square * (l * l - 2 * l + 2));
  };
  return antiderivative(to) - antiderivative(from);
}

}  // namespace

Tensor sample_deis(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const SchedulerConfig& config = schedule.config;
  std::deque<Tensor> noises;    // newest first
  std::vector<double> log_rho;  // where they were given
  for (int i = run.begin; i < end_of(run); ++i) {
    x = begun(x, run, i);
    const Level here = schedule.level(i), next = schedule.level(i + 1);
    const double rho = here.noise / here.signal, rho_next = next.noise / next.signal;
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const bool limits = config.clean_limit != CleanLimit::none;
    noises.push_front(limits ? noise_estimate(Prediction::sample, clean, x, here)
                             : noise_estimate(config.prediction, output, x, here));
    log_rho.insert(log_rho.begin(), std::log(rho));

    auto order = static_cast<size_t>(order_at(run, i, static_cast<int>(noises.size())));
    for (size_t k = 1; k < order; ++k) {
      if (log_rho[k] == log_rho[k - 1]) order = k;  // two steps at one level: no slope to be had
    }
    const std::vector<double> nodes(log_rho.begin(), log_rho.begin() + static_cast<std::ptrdiff_t>(order));
    x = scale(x, next.signal / here.signal);
    for (size_t j = 0; j < order; ++j)
      x = weighted_sum(1, x, next.signal * coefficient(nodes, j, rho, rho_next), noises[j]);
    if (noises.size() > 2) {
      noises.pop_back();
      log_rho.pop_back();
    }
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
