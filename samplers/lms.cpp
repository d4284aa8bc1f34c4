// Linear multistep of order 4 on the probability-flow ODE: Adams-Bashforth on uneven sigmas, as in k-diffusion.
#include <algorithm>
#include <cmath>
#include <deque>
#include <span>

#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

// Integral from sigmas[i] to sigmas[i + 1] of the Lagrange polynomial that is 1 at sigmas[i - j] and 0 at the other of
// the last `order`. A three-point Gauss rule is exact for it.
double coefficient(std::span<const double> sigmas, int i, int j, int order) {
  const double half = (sigmas[i + 1] - sigmas[i]) / 2, middle = (sigmas[i + 1] + sigmas[i]) / 2;
  const double reach = std::sqrt(0.6);
  double integral = 0;
  for (const auto& [node, weight] : {std::pair{-reach, 5.0 / 9}, {0.0, 8.0 / 9}, {reach, 5.0 / 9}}) {
    double value = 1;
    for (int k = 0; k < order; ++k) {
      if (k != j) value *= (middle + half * node - sigmas[i - k]) / (sigmas[i - j] - sigmas[i - k]);
    }
    integral += weight * half * value;
  }
  return integral;
}

}  // namespace

Tensor sample_lms(const Denoise& denoise, Tensor x, const Run& run) {
  constexpr int most = 4;
  const std::vector<double>& sigmas = run.schedule.sigmas;
  std::deque<Tensor> derivatives;  // newest first
  for (int i = run.begin; i < end_of(run); ++i) {
    const double sigma = sigmas[static_cast<size_t>(i)];
    x = begun(x, run, i);
    const Tensor clean = clean_from(network_output(denoise, x, run, i), x, run, i);
    derivatives.push_front(weighted_sum(1 / sigma, x, -1 / sigma, clean));
    if (derivatives.size() > most) derivatives.pop_back();
    // As in diffusers the order counts steps from the schedule's begin: a run that begins later, from a picture, takes
    // its first steps without the older derivatives that their coefficients count on.
    const int order = std::min(i + 1, most);
    for (int j = 0; j < std::min(order, static_cast<int>(derivatives.size())); ++j)
      x = weighted_sum(1, x, coefficient(sigmas, i, j, order), derivatives[static_cast<size_t>(j)]);
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
