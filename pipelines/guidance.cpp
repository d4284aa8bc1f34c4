// u + s (c - u), then perhaps rescaled.
#include "pipelines/guidance.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"

namespace heddle {
namespace {

// Unbiased standard deviation of each row, [n,1,1,1].
Tensor deviation(const Tensor& x) {
  const Tensor centred = subtract(x, mean(x, {1, 2, 3}, Axes::keep));
  const double count = static_cast<double>(x.count() / x.dim(0));
  return square_root(scale(sum(square(centred), {1, 2, 3}, Axes::keep), 1 / (count - 1)));
}

}  // namespace

Tensor guide(const BranchPredictions& p, const Guidance& guidance) {
  Tensor guided = p.uncond.defined() ? weighted_sum(1 - guidance.scale, p.uncond, guidance.scale, p.cond) : p.cond;
  if (p.more.defined()) guided = add(guided, p.more);
  if (guidance.rescale == 0 || (!p.uncond.defined() && !p.more.defined())) return guided;
  const Tensor rescaled = multiply(guided, divide(deviation(p.cond), deviation(guided)));
  return weighted_sum(guidance.rescale, rescaled, 1 - guidance.rescale, guided);
}

}  // namespace heddle
