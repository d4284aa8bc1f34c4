// DPM-Solver and DPM-Solver++ as singlestep methods: Lu et al. 2022, "DPM-Solver", algorithms 1 and 2. Evaluations come
// in rounds of up to solver_order; the k-th of a round, of order k, steps anew from the round's first state.
#include <algorithm>
#include <deque>

#include "kernels/ops/elementwise.h"
#include "samplers/dpm_step.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

// The order of evaluation i of a whole run: 1, 2, ..., solver_order, over and over. The last evaluation begins a round
// of its own where it leads to sigma 0, or where it would end a full round and the order is to fall.
int order_at(const Run& run, int i) {
  const SchedulerConfig& config = run.schedule.config;
  const int order = i % config.solver_order + 1;
  const bool ends_round = order == config.solver_order;
  const bool falls = config.final_sigma_zero || (config.lower_order_final && ends_round);
  return falls && i + 1 == end_of(run) ? 1 : order;
}

}  // namespace

Tensor sample_dpm_singlestep(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const auto lambda = [&](int i) { return schedule.half_log_snr(i); };
  std::deque<Tensor> m;  // answers, newest first
  Tensor base;           // the state that the round began with
  for (int i = run.begin; i < end_of(run); ++i) {
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    m.push_front(dpm_answer(schedule.config, output, clean, x, schedule.level(i)));
    if (static_cast<int>(m.size()) > schedule.config.solver_order) m.pop_back();

    // A run that begins within a round has no more answers than it has given.
    int order = std::min(order_at(run, i), static_cast<int>(m.size()));
    // Between two evaluations at one level there is no slope to be had.
    if (order == 3 && lambda(i - 1) == lambda(i - 2)) order = 2;
    if (order > 1 && lambda(i) == lambda(i - 1)) order = 1;
    if (order == 1) base = x;
    const int first = i - order + 1;
    const double h = lambda(i + 1) - lambda(first);
    const DpmStep c = dpm_step(schedule.config, schedule.level(first), schedule.level(i + 1), h, order);
    const Tensor& start = m[static_cast<size_t>(order) - 1];
    x = weighted_sum(c.x, base, c.d0, start);
    if (order > 1) {
      const double r0 = (lambda(i) - lambda(first)) / h;
      const Tensor newest = weighted_sum(1 / r0, m[0], -1 / r0, start);
      if (order == 2 || !schedule.config.heun_type) {
        x = weighted_sum(1, x, c.d1, newest);
      } else {
        const double r1 = (lambda(i - 1) - lambda(first)) / h;
        const Tensor older = weighted_sum(1 / r1, m[1], -1 / r1, start);
        x = weighted_sum(1, x, c.d1, weighted_sum(r0 / (r0 - r1), older, -r1 / (r0 - r1), newest));
        x = weighted_sum(1, x, 2 * c.d2 / (r0 - r1), weighted_sum(1, newest, -1, older));
      }
    }
    if (draws_noise(schedule.config)) x = weighted_sum(1, x, c.fresh, run.noise(x.shape()));
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
