// Tiles and their blending.
#include "encoders/vae_tiles.h"

#include <algorithm>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {

namespace {

// The first `extent` rows (axis 1) or columns (axis 2) of b fade from the last ones of a.
Tensor blend(const Tensor& a, const Tensor& b, int axis, int64_t extent) {
  extent = std::min({a.dim(axis), b.dim(axis), extent});
  if (extent == 0) return b;
  std::vector<float> rising, falling;
  for (int64_t i = 0; i < extent; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(extent);
    rising.push_back(static_cast<float>(share));
    falling.push_back(static_cast<float>(1 - share));
  }
  const Shape shape = axis == 1 ? Shape{1, extent, 1, 1} : Shape{1, 1, extent, 1};
  const Tensor old = to(slice(a, axis, a.dim(axis) - extent, a.dim(axis)), DType::f32);
  const Tensor fresh = to(slice(b, axis, 0, extent), DType::f32);
  const Tensor mixed = add(multiply(old, Tensor::from(falling, shape)), multiply(fresh, Tensor::from(rising, shape)));
  return concat({to(mixed, b.dtype()), slice(b, axis, extent, b.dim(axis))}, axis);
}

Tensor cut(const Tensor& x, int64_t height, int64_t width) {
  return slice(slice(x, 1, 0, std::min(height, x.dim(1))), 2, 0, std::min(width, x.dim(2)));
}

}  // namespace

Tensor VaeTiles::run(const Tensor& x, const std::function<Tensor(const Tensor&)>& work) const {
  const int64_t stride = from * 3 / 4, extent = to / 4, kept = to - extent;
  const int64_t thinnest = std::max<int64_t>(1, from / to);  // of a tile: one row of the result
  std::vector<Tensor> above, rows;                           // tiles of the row before, blended; finished rows
  for (int64_t top = 0; top < x.dim(1); top += stride) {
    std::vector<Tensor> row, finished;
    for (int64_t left = 0; left < x.dim(2); left += stride) {
      const Tensor part =
          slice(slice(x, 1, top, std::min(top + from, x.dim(1))), 2, left, std::min(left + from, x.dim(2)));
      if (part.dim(1) < thinnest || part.dim(2) < thinnest) {
        fail(ErrorCode::usage, "vae tiling", "edges that leave tiles of at least " + std::to_string(thinnest),
             x.shape().text(), "multiples of " + std::to_string(thinnest));
      }
      Tensor tile = work(contiguous(part));
      if (!above.empty()) tile = blend(above[row.size()], tile, 1, extent);
      if (!row.empty()) tile = blend(row.back(), tile, 2, extent);
      row.push_back(tile);
      finished.push_back(cut(tile, kept, kept));
    }
    rows.push_back(concat(finished, 2));
    above = std::move(row);
  }
  return concat(rows, 1);
}

}  // namespace heddle
