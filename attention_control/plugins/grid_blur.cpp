// Separable: along rows, then along columns.
#include "attention_control/plugins/grid_blur.h"

#include <cmath>
#include <vector>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

std::vector<double> taps(double sigma, int64_t side) {
  int64_t count = static_cast<int64_t>(std::ceil(6 * sigma));
  count = std::min(count + 1 - count % 2, side - (side % 2 - 1));
  std::vector<double> out(static_cast<size_t>(count));
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double d = static_cast<double>(i) - static_cast<double>(count - 1) / 2;
    sum += out[static_cast<size_t>(i)] = std::exp(-0.5 * (d / sigma) * (d / sigma));
  }
  for (double& tap : out) tap /= sum;
  return out;
}

// `place(i, offset)`: the token `offset` cells away along one axis.
template <typename Place>
Tensor along(const Tensor& x, const std::vector<double>& kernel, Place place) {
  const auto reach = static_cast<int64_t>(kernel.size() / 2);
  std::vector<int64_t> from(static_cast<size_t>(x.dim(1)));
  Tensor total;
  for (size_t t = 0; t < kernel.size(); ++t) {
    for (int64_t i = 0; i < x.dim(1); ++i) from[static_cast<size_t>(i)] = place(i, static_cast<int64_t>(t) - reach);
    const Tensor moved = scale(gather(x, 1, from), kernel[t]);
    total = total.defined() ? add(total, moved) : moved;
  }
  return total;
}

}  // namespace

int64_t reflected(int64_t i, int64_t extent) {
  if (extent == 1) return 0;
  const int64_t period = 2 * (extent - 1);
  const int64_t at = ((i % period) + period) % period;
  return at < extent ? at : period - at;
}

Tensor blur_tokens(const Tensor& x, const TokenSegment& grid, double sigma) {
  const int64_t w = grid.width, h = grid.height;
  if (sigma > 9999) return repeat(mean(x, {1}, Axes::keep), 1, x.dim(1));
  const Tensor rows = along(to(x, DType::f32), taps(sigma, w),
                            [&](int64_t i, int64_t by) { return i / w * w + reflected(i % w + by, w); });
  const Tensor both =
      along(rows, taps(sigma, h), [&](int64_t i, int64_t by) { return reflected(i / w + by, h) * w + i % w; });
  return to(both, x.dtype());
}

}  // namespace heddle
