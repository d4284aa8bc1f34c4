// (x - mean(x)) / dev(x) * dev(style) + mean(style)
#include "attention_control/plugins/adaptive_norm.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

struct Moments {
  Tensor mean, deviation;  // [R,1,H,D]
};

Moments moments(const Tensor& x) {
  const Tensor m = mean(x, {1}, Axes::keep);
  const int64_t tokens = x.dim(1);
  const Tensor variance =
      scale(sum(square(subtract(x, m)), {1}, Axes::keep), 1.0 / static_cast<double>(tokens > 1 ? tokens - 1 : 1));
  return {m, square_root(add_constant(variance, 1e-5))};
}

}  // namespace

Tensor adaptive_norm(const Tensor& x, const Tensor& style) {
  const Tensor plain = to(x, DType::f32);
  const Moments own = moments(plain), other = moments(to(style, DType::f32));
  const Tensor factor = divide(other.deviation, own.deviation);
  return to(add(multiply(subtract(plain, own.mean), factor), other.mean), x.dtype());
}

}  // namespace heddle
