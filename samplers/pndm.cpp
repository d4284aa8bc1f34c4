// Pseudo numerical methods: Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds", eq. 9 and
// 11-13.
#include <cmath>
#include <deque>

#include "kernels/ops/elementwise.h"
#include "samplers/parameterization.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

// Eq. 11: from timestep t to `next` along the answer `output`.
Tensor transfer(const Schedule& schedule, const Tensor& x, const Tensor& output, int64_t t, int64_t next) {
  const double a = schedule.alpha_bar(t), a_next = schedule.alpha_bar(next);
  const Tensor noise = noise_estimate(schedule.config.prediction, output, x, {std::sqrt(a), std::sqrt(1 - a)});
  const double denominator = a * std::sqrt(1 - a_next) + std::sqrt(a * (1 - a) * a_next);
  return weighted_sum(std::sqrt(a_next / a), x, -(a_next - a) / denominator, noise);
}

// Linear multistep of the newest answers (Adams-Bashforth), newest first.
Tensor multistep(const std::deque<Tensor>& e) {
  switch (e.size()) {
    case 1:
      return e[0];
    case 2:
      return weighted_sum(3.0 / 2, e[0], -1.0 / 2, e[1]);
    case 3:
      return weighted_sum(1, weighted_sum(23.0 / 12, e[0], -16.0 / 12, e[1]), 5.0 / 12, e[2]);
    default:
      return weighted_sum(1, weighted_sum(55.0 / 24, e[0], -59.0 / 24, e[1]), 1,
                          weighted_sum(37.0 / 24, e[2], -9.0 / 24, e[3]));
  }
}

}  // namespace

Tensor sample_pndm(const Denoise& denoise, Tensor x, const Run& run) {
  const Schedule& schedule = run.schedule;
  const int64_t stride = schedule.config.num_train_timesteps / schedule.steps;
  const int runge_kutta = schedule.config.skip_prk_steps ? 0 : 12;  // evaluations
  const auto timestep = [&](int i) {
    return static_cast<int64_t>(schedule.evaluations[static_cast<size_t>(i)].timestep);
  };
  std::deque<Tensor> answers;  // newest first, at most 4
  Tensor start, sum;
  // As in diffusers the method counts evaluations from the run's begin, also for image-to-image.
  for (int i = run.begin, count = 0; i < end_of(run); ++i, ++count) {
    x = begun(x, run, i);
    const Tensor output = network_output(denoise, x, run, i);
    const Tensor clean = run.on_step ? clean_from(output, x, run, i) : Tensor();
    const int64_t t = timestep(i);
    if (count < runge_kutta) {
      const int stage = count % 4;
      if (stage == 0) {
        start = x;
        answers.push_front(output);
        sum = scale(output, 1.0 / 6);
      } else {
        sum = weighted_sum(1, sum, stage == 3 ? 1.0 / 6 : 1.0 / 3, output);
      }
      const int64_t next = t - (count % 2 == 0 ? stride / 2 : 0);
      x = transfer(schedule, start, stage == 3 ? sum : output, timestep(count / 4 * 4), next);
    } else if (count == 1) {  // the first step again, by the mean of the answers at its ends
      x = transfer(schedule, start, weighted_sum(0.5, output, 0.5, answers[0]), t + stride, t);
    } else {
      if (count == 0) start = x;
      answers.push_front(output);
      if (answers.size() > 4) answers.pop_back();
      x = transfer(schedule, x, multistep(answers), t, t - stride);
    }
    x = finished(x, clean, run, i);
  }
  return x;
}

}  // namespace heddle
