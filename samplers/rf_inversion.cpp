// The two controlled fields. Both use the share of noise that the network is told, so that run and inversion agree on
// time whatever the shift.
#include "samplers/rf_inversion.h"

#include <cmath>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "samplers/parameterization.h"

namespace heddle {
namespace {

// Towards `goal`, in the sign of the network's answer.
Tensor drawn(const Tensor& output, const Tensor& goal, double weight, Prediction prediction) {
  return weighted_sum(1 - weight, to(output, DType::f32), weight, velocity(prediction, goal));
}

void check(const SchedulerConfig& config) {
  const bool flow = config.prediction == Prediction::flow || config.prediction == Prediction::reverse_flow;
  if (!flow) fail(ErrorCode::internal, "rf_inversion", "a network that predicts a flow", "another");
}

}  // namespace

double EtaSchedule::at(int step, int steps) const {
  const bool inside = step >= static_cast<int>(begin * steps) && step < static_cast<int>(end * steps);
  return inside ? eta * std::pow(1 - static_cast<double>(step) / steps, decay) : 0;
}

Denoise drawn_to_noise(Denoise denoise, Tensor noise, double gamma, const SchedulerConfig& config) {
  check(config);
  return [denoise = std::move(denoise), noise = std::move(noise), gamma, prediction = config.prediction](
             const Tensor& x, const Evaluation& at) {
    const Tensor output = denoise(x, at);
    const double left = 1 - at.sigma;
    if (gamma == 0 || left <= 0) return output;
    return drawn(output, weighted_sum(1 / left, noise, -1 / left, x), gamma, prediction);
  };
}

Denoise drawn_to_picture(Denoise denoise, Tensor picture, EtaSchedule eta, const SchedulerConfig& config) {
  check(config);
  return [denoise = std::move(denoise), picture = std::move(picture), eta, prediction = config.prediction](
             const Tensor& x, const Evaluation& at) {
    const Tensor output = denoise(x, at);
    const double weight = eta.at(at.step, at.steps);
    if (weight == 0 || at.sigma <= 0) return output;
    return drawn(output, weighted_sum(1 / at.sigma, x, -1 / at.sigma, picture), weight, prediction);
  };
}

}  // namespace heddle
