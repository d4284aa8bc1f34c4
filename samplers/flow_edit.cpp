// Algorithm 1 of FlowEdit, with its options n_min and n_avg.
#include "samplers/flow_edit.h"

#include <string>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/parameterization.h"

namespace heddle {
namespace {

struct Lanes {
  Tensor source, target;
};

class Editor {
 public:
  Editor(const Denoise& denoise, const Tensor& picture, const FlowEditRun& run)
      : denoise_(denoise), picture_(to(picture, DType::f32)), run_(run) {}

  Tensor edit() const {
    const int steps = static_cast<int>(run_.schedule.evaluations.size());
    Tensor edited = picture_;
    for (int i = steps - run_.n_max; i < steps - run_.n_min; ++i) edited = step(edited, i);
    return run_.n_min == 0 ? edited : sampled(edited, steps - run_.n_min);
  }

 private:
  double sigma(int i) const { return run_.schedule.sigmas[static_cast<size_t>(i)]; }
  Tensor noisy(const Tensor& noise, int i) const { return add_noise(run_.schedule, picture_, noise, i); }
  // The edit so far, carried over to the noisy source.
  Tensor moved(const Tensor& edited, const Tensor& source) const {
    return weighted_sum(1, edited, 1, weighted_sum(1, source, -1, picture_));
  }

  Tensor answer(const Denoise& denoise, const Tensor& x, int i) const {
    const Tensor output = to(denoise(x, run_.schedule.evaluations[static_cast<size_t>(i)]), DType::f32);
    if (!(output.shape() == x.shape()))
      fail(ErrorCode::internal, "flow_edit", "an answer of shape " + x.shape().text(), output.shape().text());
    return velocity(run_.schedule.config.prediction, output);
  }

  Lanes velocities(const Tensor& source, const Tensor& target, int i) const {
    const Tensor v = answer(denoise_, concat({source, target}, 0), i);
    const int64_t rows = picture_.dim(0);
    return {slice(v, 0, 0, rows), slice(v, 0, rows, 2 * rows)};
  }

  Tensor finish(const Tensor& x, const Tensor& clean, int i) const {
    return run_.on_step ? run_.on_step(run_.schedule.evaluations[static_cast<size_t>(i)], x, clean) : x;
  }

  // Along the mean difference of the velocities: the noise of the source's is taken out by that of the target's.
  Tensor step(const Tensor& edited, int i) const {
    Tensor difference;
    for (int k = 0; k < run_.n_avg; ++k) {
      const Tensor source = noisy(run_.noise(picture_.shape()), i);
      const Lanes v = velocities(source, moved(edited, source), i);
      const Tensor one = weighted_sum(1, v.target, -1, v.source);
      difference = k == 0 ? one : weighted_sum(1, difference, 1, one);
    }
    const double share = 1.0 / run_.n_avg;
    return finish(weighted_sum(1, edited, (sigma(i + 1) - sigma(i)) * share, difference),
                  weighted_sum(1, edited, -sigma(i) * share, difference), i);
  }

  // The rest of the way by plain sampling of the target, from the noisy state that the edit has come to.
  Tensor sampled(const Tensor& edited, int begin) const {
    const Tensor noise = run_.noise(picture_.shape());
    Tensor x = moved(edited, noisy(noise, begin));
    for (int i = begin; i < static_cast<int>(run_.schedule.evaluations.size()); ++i) {
      const Tensor v = run_.target ? answer(run_.target, x, i) : velocities(noisy(noise, i), x, i).target;
      const Tensor clean = weighted_sum(1, x, -sigma(i), v);
      x = finish(weighted_sum(1, x, sigma(i + 1) - sigma(i), v), clean, i);
    }
    return x;
  }

  const Denoise& denoise_;
  Tensor picture_;
  const FlowEditRun& run_;
};

void check(const FlowEditRun& run) {
  const SchedulerConfig& config = run.schedule.config;
  if (!config.flow || config.solver != Solver::euler || config.stochastic)
    fail(ErrorCode::usage, "sampler", "euler without fresh noise, of a flow model", "another",
         "sampler: {name: euler}");
  const int steps = static_cast<int>(run.schedule.evaluations.size());
  const auto within = [](const char* name, int value, int low, int high) {
    if (value < low || value > high) {
      fail(ErrorCode::usage, name, std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
    }
  };
  within("n_max", run.n_max, 1, steps);
  within("n_min", run.n_min, 0, run.n_max);
  within("n_avg", run.n_avg, 1, 1000);
  if (!run.noise) fail(ErrorCode::internal, "flow_edit", "a noise source", "none");
}

}  // namespace

Tensor flow_edit(const Denoise& denoise, const Tensor& picture, const FlowEditRun& run) {
  check(run);
  return Editor(denoise, picture, run).edit();
}

}  // namespace heddle
