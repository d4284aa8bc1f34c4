// One step upwards in each of three ways, or a flow's own solver backwards.
#include "samplers/inversion.h"

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/parameterization.h"

namespace heddle {
namespace {

struct Estimate {
  Tensor clean, noise;
};

class Inverter {
 public:
  Inverter(const Denoise& denoise, const InversionRun& run) : denoise_(denoise), run_(run) {}

  // The state before evaluation i from that behind it.
  Tensor step(const Tensor& x, int i) const {
    switch (run_.method) {
      case Inversion::ddim:
        return ddim(x, i);
      case Inversion::fixed_point:
        return fixed_point(x, i);
      case Inversion::second_order:
        return second_order(x, i);
      case Inversion::solver:
        break;
    }
    fail(ErrorCode::internal, "inversion", "a known method", "another");
  }

 private:
  Level level(int i) const {
    const int steps = static_cast<int>(run_.schedule.evaluations.size());
    if (i < steps || run_.schedule.config.flow) return run_.schedule.level(i);
    const double a = run_.schedule.final_alpha_cumprod;
    return {std::sqrt(a), std::sqrt(1 - a)};
  }

  // The network told of evaluation `told`, on x at level `at`.
  Estimate estimate(const Tensor& x, int told, Level at) const {
    const Prediction prediction = run_.schedule.config.prediction;
    Evaluation moment = run_.schedule.evaluations[static_cast<size_t>(told)];
    moment.direction = Direction::invert;
    const Tensor output = to(denoise_(x, moment), DType::f32);
    return {clean_estimate(prediction, output, x, at), noise_estimate(prediction, output, x, at)};
  }

  // As the original: the state below, the timestep above.
  Tensor ddim(const Tensor& x, int i) const {
    const Estimate e = estimate(x, i, level(i + 1));
    return weighted_sum(level(i).signal, e.clean, level(i).noise, e.noise);
  }

  // x = s' clean + n' noise holds at the state that is sought; whichever of the two estimates loses less by the
  // division is put in terms of x.
  Tensor fixed_point(const Tensor& x, int i) const {
    const Level upper = level(i), lower = level(i + 1);
    Tensor sought = ddim(x, i);
    for (int k = 0; k < run_.iterations; ++k) {
      const Estimate e = estimate(sought, i, upper);
      if (lower.signal >= lower.noise) {
        const Tensor clean = weighted_sum(1 / lower.signal, x, -lower.noise / lower.signal, e.noise);
        sought = weighted_sum(upper.signal, clean, upper.noise, e.noise);
      } else {
        const Tensor noise = weighted_sum(1 / lower.noise, x, -lower.signal / lower.noise, e.clean);
        sought = weighted_sum(upper.signal, e.clean, upper.noise, noise);
      }
    }
    return sought;
  }

  Tensor second_order(const Tensor& x, int i) const {
    const Level upper = level(i), lower = level(i + 1);
    const int steps = static_cast<int>(run_.schedule.evaluations.size());
    const Estimate below = estimate(x, std::min(i + 1, steps - 1), lower);
    const Tensor guess = weighted_sum(upper.signal, below.clean, upper.noise, below.noise);
    const Tensor noise = weighted_sum(0.5, below.noise, 0.5, estimate(guess, i, upper).noise);
    const Tensor clean = weighted_sum(1 / lower.signal, x, -lower.noise / lower.signal, noise);
    return weighted_sum(upper.signal, clean, upper.noise, noise);
  }

  const Denoise& denoise_;
  const InversionRun& run_;
};

// The levels of the inversion are those of the run in reverse, the middles of steps among them.
std::vector<Tensor> inverted_by_solver(const Denoise& denoise, const Tensor& clean, const InversionRun& run) {
  const Schedule rising = inverted(run.schedule);
  const int last = static_cast<int>(rising.evaluations.size());
  std::vector<Tensor> states(static_cast<size_t>(last) + 1);
  states.back() = clean;
  const OnStep keep = [&](const Evaluation& at, const Tensor& x, const Tensor&) {
    states[static_cast<size_t>(last - 1 - at.index)] = x;
    if (run.on_step) run.on_step(at.index + 1, last);
    return x;
  };
  sample(denoise, clean, {.schedule = rising, .noise = {}, .on_step = keep});
  return states;
}

void check(const InversionRun& run) {
  const SchedulerConfig& config = run.schedule.config;
  if (config.flow) {
    if (run.method != Inversion::solver && run.method != Inversion::fixed_point)
      fail(ErrorCode::usage, "inversion.method", "solver or fixed_point for a flow model", "another",
           "inversion: {method: solver}");
    if (run.method == Inversion::fixed_point && (config.solver != Solver::euler || config.stochastic))
      fail(ErrorCode::usage, "inversion.method", "solver but with euler without fresh noise", "fixed_point",
           "inversion: {method: solver}");
    return;
  }
  if (run.method == Inversion::solver)
    fail(ErrorCode::usage, "inversion.method", "ddim, fixed_point or second_order but for flow models", "solver",
         "inversion: {method: fixed_point}");
  if (config.solver != Solver::ddim || config.eta != 0)
    fail(ErrorCode::usage, "sampler", "ddim with eta 0 for an inversion", "another solver", "sampler: {name: ddim}");
}

}  // namespace

std::vector<Tensor> invert(const Denoise& denoise, const Tensor& clean, const InversionRun& run) {
  check(run);
  if (run.method == Inversion::solver) return inverted_by_solver(denoise, to(clean, DType::f32), run);
  const auto steps = static_cast<int>(run.schedule.evaluations.size());
  std::vector<Tensor> states(static_cast<size_t>(steps) + 1);
  states.back() = to(clean, DType::f32);
  const Inverter inverter(denoise, run);
  for (int i = steps - 1; i >= 0; --i) {
    states[static_cast<size_t>(i)] = inverter.step(states[static_cast<size_t>(i) + 1], i);
    if (run.on_step) run.on_step(steps - i, steps);
  }
  return states;
}

}  // namespace heddle
