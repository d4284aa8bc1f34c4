// u + s (c - u), then perhaps rescaled.
#include "pipelines/guidance.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// Unbiased standard deviation of each row, [n,1,1,1].
Tensor deviation(const Tensor& x) {
  const Tensor centred = subtract(x, mean(x, {1, 2, 3}, Axes::keep));
  const double count = static_cast<double>(x.count() / x.dim(0));
  return square_root(scale(sum(square(centred), {1, 2, 3}, Axes::keep), 1 / (count - 1)));
}

}  // namespace

Tensor guide(const Tensor& prediction, const Guidance& guidance) {
  const std::vector<Tensor> halves = split(prediction, 0, 2);
  const Tensor& uncond = halves[0];
  const Tensor& cond = halves[1];
  const Tensor guided = weighted_sum(1 - guidance.scale, uncond, guidance.scale, cond);
  if (guidance.rescale == 0) return guided;
  const Tensor rescaled = multiply(guided, divide(deviation(cond), deviation(guided)));
  return weighted_sum(guidance.rescale, rescaled, 1 - guidance.rescale, guided);
}

}  // namespace heddle
