// DPM-Solver, DPM-Solver++ and their SDE forms as multistep methods: Lu et al. 2022, "DPM-Solver++", algorithm 2 and
// appendix.
#include <deque>

#include "kernels/ops/elementwise.h"
#include "samplers/dpm_step.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

int order_at(const Run& run, int i, int answers) {
  const SchedulerConfig& config = run.schedule.config;
  const int left = end_of(run) - i;
  const bool few = config.lower_order_final && end_of(run) < 15;
  if (left == 1 && (config.euler_at_final || few || config.final_sigma_zero)) return 1;
  if (left == 2 && few) return std::min({config.solver_order, answers, 2});
  return std::min(config.solver_order, answers);
}

}  // namespace

Tensor sample_dpm_multistep(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const auto step_length = [&](int i) { return schedule.half_log_snr(i + 1) - schedule.half_log_snr(i); };
  std::deque<Tensor> m;  // answers, newest first
  for (int i = run.begin; i < end_of(run); ++i) {
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    m.push_front(dpm_answer(schedule.config, output, clean, x, schedule.level(i)));
    if (m.size() > 3) m.pop_back();

    const double h = step_length(i);
    int order = order_at(run, i, static_cast<int>(m.size()));
    if (order > 1 && step_length(i - 1) == 0) order = 1;  // two steps at one level: no slope to be had
    const DpmStep c = dpm_step(schedule.config, schedule.level(i), schedule.level(i + 1), h, order);
    x = weighted_sum(c.x, x, c.d0, m[0]);
    if (order == 2) {
      const double slope = h / step_length(i - 1);
      x = weighted_sum(1, x, c.d1 * slope, weighted_sum(1, m[0], -1, m[1]));
    } else if (order == 3) {
      const double r0 = step_length(i - 1) / h, r1 = step_length(i - 2) / h;
      const Tensor newer = weighted_sum(1 / r0, m[0], -1 / r0, m[1]), older = weighted_sum(1 / r1, m[1], -1 / r1, m[2]);
      const Tensor bend = weighted_sum(1, newer, -1, older);
      x = weighted_sum(1, x, c.d1, weighted_sum(1, newer, r0 / (r0 + r1), bend));
      x = weighted_sum(1, x, c.d2 / (r0 + r1), bend);
    }
    if (draws_noise(schedule.config)) x = weighted_sum(1, x, c.fresh, run.noise(x.shape()));
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
