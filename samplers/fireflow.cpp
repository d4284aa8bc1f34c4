// FireFlow: Deng et al. 2024, "FireFlow: Fast Inversion of Rectified Flow for Image Semantic Editing", algorithm 1: the
// midpoint rule whose way to the middle is the last step's velocity, so that only the first step asks twice.
// The state is kept at the middles, where the network sees it: what a callback changes there stays changed.
#include "kernels/ops/elementwise.h"
#include "samplers/sampler.h"

namespace heddle {

Tensor sample_fireflow(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  Tensor last;  // the velocity that led to the middle; none where a run begins there
  for (int i = run.begin; i < end_of(run); ++i) {
    const double here = schedule.sigmas[static_cast<size_t>(i)], there = schedule.sigmas[static_cast<size_t>(i) + 1];
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = clean_from(output, x, run, i);
    const Tensor v = slope_from(output, clean, x, run, i);
    double from = here;
    if (last.defined()) {  // back to where the step began
      from = schedule.step_sigmas[static_cast<size_t>(i) - 1];
      x = weighted_sum(1, x, from - here, last);
    }
    x = weighted_sum(1, x, there - from, v);  // the step, and with the same velocity to the middle of the next
    x = finished(x, clean, run, i);
    last = v;
  }
  return x;
}

}  // namespace heddle
