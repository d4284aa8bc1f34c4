// Packing as FluxPipeline does it, and its inverse.
#include "unet_dit/flux_tokens.h"

#include "kernels/ops/view.h"

namespace heddle {

Tensor pack_latents(const Tensor& x) {
  const int64_t batch = x.dim(0), channels = x.dim(1), rows = x.dim(2) / 2, columns = x.dim(3) / 2;
  const Tensor pairs = reshape(x, {batch, channels, rows, 2, columns, 2});
  return reshape(permute(pairs, {0, 2, 4, 1, 3, 5}), {batch, rows * columns, 4 * channels});
}

Tensor unpack_latents(const Tensor& x, int64_t height, int64_t width) {
  const int64_t batch = x.dim(0), channels = x.dim(2) / 4;
  const Tensor pairs = reshape(x, {batch, height / 2, width / 2, channels, 2, 2});
  return reshape(permute(pairs, {0, 3, 1, 4, 2, 5}), {batch, channels, height, width});
}

Tensor grid_ids(int64_t rows, int64_t columns, int64_t axes) {
  Tensor ids = Tensor::zeros({rows * columns, axes});
  float* to = ids.fill_data<float>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    to[i * axes + axes - 2] = static_cast<float>(i / columns);
    to[i * axes + axes - 1] = static_cast<float>(i % columns);
  }
  return ids;
}

TokenSegment segment_of(const Tensor& ids) {
  const std::vector<float> at = ids.to_vector();
  const int64_t tokens = ids.dim(0), axes = ids.dim(1);
  const auto coordinate = [&](int64_t i, int64_t axis) { return at[static_cast<size_t>(i * axes + axis)]; };
  int64_t columns = 1;  // tokens of the first row
  while (columns < tokens && coordinate(columns, axes - 2) == coordinate(0, axes - 2)) ++columns;
  bool grid = tokens % columns == 0;
  for (int64_t i = 0; grid && i < tokens; ++i) {
    for (int64_t axis = 0; axis < axes; ++axis) {
      const int64_t step = axis == axes - 2 ? i / columns : axis == axes - 1 ? i % columns : 0;
      grid = grid && coordinate(i, axis) == coordinate(0, axis) + static_cast<float>(step);
    }
  }
  return {.name = "image", .height = grid ? tokens / columns : 1, .width = grid ? columns : tokens};
}

}  // namespace heddle
