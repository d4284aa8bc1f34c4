// Clean estimate and noise from epsilon, v, sample and flow predictions.
#include "samplers/parameterization.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// torch.quantile of |values|: linear between the two nearest ranks.
double magnitude_quantile(std::vector<float> values, double share) {
  for (float& v : values) v = std::abs(v);
  std::ranges::sort(values);
  const double rank = share * static_cast<double>(values.size() - 1);
  const size_t low = static_cast<size_t>(rank);
  const size_t high = std::min(low + 1, values.size() - 1);
  return std::lerp(static_cast<double>(values[low]), static_cast<double>(values[high]),
                   rank - static_cast<double>(low));
}

Tensor dynamically_thresholded(const Tensor& clean, const SchedulerConfig& config) {
  if (clean.count() == 0) return clean;
  std::vector<Tensor> pictures;
  for (int64_t n = 0; n < clean.dim(0); ++n) {
    const Tensor picture = slice(clean, 0, n, n + 1);
    const double s = std::min(std::max(magnitude_quantile(picture.to_vector(), config.dynamic_thresholding_ratio), 1.0),
                              config.sample_max_value);
    pictures.push_back(scale(clamp(picture, -s, s), 1 / s));
  }
  return concat(pictures, 0);
}

}  // namespace

Tensor clean_estimate(Prediction prediction, const Tensor& output, const Tensor& x, Level level) {
  const double r = std::hypot(level.signal, level.noise);
  switch (prediction) {
    case Prediction::epsilon:
      return weighted_sum(1 / level.signal, x, -level.noise / level.signal, output);
    case Prediction::v_prediction:
      return weighted_sum(level.signal / (r * r), x, -level.noise / r, output);
    case Prediction::flow:
      return weighted_sum(1, x, -level.noise, output);
    case Prediction::reverse_flow:
      return weighted_sum(1, x, level.noise, output);
    default:
      return output;
  }
}

Tensor noise_estimate(Prediction prediction, const Tensor& output, const Tensor& x, Level level) {
  const double r = std::hypot(level.signal, level.noise);
  switch (prediction) {
    case Prediction::epsilon:
      return output;
    case Prediction::v_prediction:
      return weighted_sum(level.noise / (r * r), x, level.signal / r, output);
    case Prediction::flow:
      return weighted_sum(1, x, level.signal, output);
    case Prediction::reverse_flow:
      return weighted_sum(1, x, -level.signal, output);
    default:
      return weighted_sum(1 / level.noise, x, -level.signal / level.noise, output);
  }
}

Tensor preconditioned(const SchedulerConfig& config, const Tensor& output, const Tensor& x, double sigma) {
  const double r = std::hypot(sigma, config.sigma_data);
  const double skip = config.sigma_data * config.sigma_data / (r * r), out = sigma * config.sigma_data / r;
  return weighted_sum(skip, x, config.prediction == Prediction::v_prediction ? -out : out, output);
}

Tensor velocity(Prediction prediction, const Tensor& output) {
  if (prediction == Prediction::flow) return output;
  if (prediction == Prediction::reverse_flow) return scale(output, -1);
  fail(ErrorCode::internal, "sampler", "a network that predicts a flow", "another");
}

Tensor limited(const Tensor& clean, const SchedulerConfig& config) {
  if (config.clean_limit == CleanLimit::dynamic) return dynamically_thresholded(clean, config);
  if (config.clean_limit == CleanLimit::clamp) return clamp(clean, -config.clip_sample_range, config.clip_sample_range);
  return clean;
}

}  // namespace heddle
