// UniPC: Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework", algorithms 1 and 2, multistep, B(h) = h or
// e^h - 1.
#include <algorithm>
#include <cmath>
#include <deque>

#include "kernels/ops/elementwise.h"
#include "samplers/exponential.h"
#include "samplers/parameterization.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

// Solves the n x n system a x = b in place (Gauss, row pivots).
std::vector<double> solve(std::vector<std::vector<double>> a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column + 1; row < n; ++row) {
      if (std::abs(a[row][column]) > std::abs(a[pivot][column])) pivot = row;
    }
    std::swap(a[column], a[pivot]);
    std::swap(b[column], b[pivot]);
    for (size_t row = 0; row < n; ++row) {
      if (row == column) continue;
      const double factor = a[row][column] / a[column][column];
      for (size_t k = column; k < n; ++k) a[row][k] -= factor * a[column][k];
      b[row] -= factor * b[column];
    }
  }
  for (size_t i = 0; i < n; ++i) b[i] /= a[i][i];
  return b;
}

// Weights of the differences at nodes r (eq. 9): order conditions in powers of r. One node takes 1/2, as in the
// original code.
std::vector<double> weights(const std::vector<double>& r, double z, double b_of_h) {
  const size_t n = r.size();
  if (n == 1) return {0.5};
  std::vector<std::vector<double>> powers(n, std::vector<double>(n));
  std::vector<double> right(n);
  double phi = phi_2(z), factorial = 1;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) powers[i][j] = std::pow(r[j], static_cast<double>(i));
    right[i] = phi * factorial / b_of_h;
    factorial *= static_cast<double>(i + 2);
    phi = phi / z - 1 / factorial;
  }
  return solve(powers, right);
}

// Answers (clean estimates or noises) and the half-log-SNR where they were given, newest first.
struct History {
  std::deque<Tensor> answers;
  std::deque<double> lambdas;
};

struct Step {
  const SchedulerConfig& config;
  Level here, next;
  double h;  // in half-log-SNR
};

// From x at `here` to `next` with `order` answers of the history (the newest was given at `here`) and, for the
// corrector, the answer at `next`.
Tensor update(const Step& step, const Tensor& x, const History& past, int order, const Tensor& answer_there) {
  const bool data_form = step.config.predict_x0;
  const double z = data_form ? -step.h : step.h;
  const double gain = data_form ? step.next.signal : step.next.noise;
  // gain * (e^z - 1); the noise form by levels, which holds for next.noise = 0 too
  const double whole =
      data_form ? gain * std::expm1(z) : step.next.signal * step.here.noise / step.here.signal - step.next.noise;
  Tensor out = weighted_sum(data_form ? step.next.noise / step.here.noise : step.next.signal / step.here.signal, x,
                            -whole, past.answers[0]);
  if (step.h == 0 || std::isinf(step.h)) return out;

  std::vector<double> nodes;
  std::vector<Tensor> others;
  for (int k = 1; k < order; ++k) {
    nodes.push_back((past.lambdas[static_cast<size_t>(k)] - past.lambdas[0]) / step.h);
    others.push_back(past.answers[static_cast<size_t>(k)]);
  }
  if (answer_there.defined()) {
    nodes.push_back(1);
    others.push_back(answer_there);
  }
  const double b_of_h = step.config.bh1 ? z : std::expm1(z);
  const std::vector<double> rho = weights(nodes, z, b_of_h);
  for (size_t k = 0; k < nodes.size(); ++k) {
    const double weight = -gain * b_of_h * rho[k] / (answer_there.defined() && k + 1 == nodes.size() ? 1 : nodes[k]);
    out = weighted_sum(1, out, weight, weighted_sum(1, others[k], -1, past.answers[0]));
  }
  return out;
}

}  // namespace

Tensor sample_unipc(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const SchedulerConfig& config = schedule.config;
  const auto step_at = [&](int i) {
    return Step{config, schedule.level(i), schedule.level(i + 1),
                schedule.half_log_snr(i + 1) - schedule.half_log_snr(i)};
  };
  History past;
  Tensor last;  // the corrected state one step ago
  int last_order = 0;
  for (int i = run.begin; i < end_of(run); ++i) {
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor answer = config.predict_x0 ? clean : noise_estimate(config.prediction, output, x, schedule.level(i));
    const bool corrects = std::ranges::find(config.disable_corrector, i - 1) == config.disable_corrector.end();
    if (last.defined() && corrects) x = update(step_at(i - 1), last, past, last_order, answer);

    past.answers.push_front(answer);
    past.lambdas.push_front(schedule.half_log_snr(i));
    if (static_cast<int>(past.answers.size()) > config.solver_order) {
      past.answers.pop_back();
      past.lambdas.pop_back();
    }
    last = x;
    last_order = static_cast<int>(past.answers.size());
    if (config.lower_order_final) last_order = std::min(last_order, end_of(run) - i);
    x = finished(update(step_at(i), x, past, last_order, {}), clean, run, i);
  }
  return x;
}

}  // namespace heddle
