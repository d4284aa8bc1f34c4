// The choice of a convolution's algorithm.
#include "kernels/cpu/conv2d.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// Patches that do not overlap, 1x1 among them: a product of each patch's values with the weight. oneDNN has only its
// reference code for most of these (patch embeddings of 4 or 16 channels).
bool is_product_of_patches(const Tensor& weight, const ConvGeometry& geometry) {
  const Padding& p = geometry.padding;
  const int64_t side = geometry.stride;
  return weight.shape()[2] == side && weight.shape()[3] == side && p.top + p.left + p.bottom + p.right == 0;
}

Tensor as_rows(const Tensor& x) {
  return reshape(x, {x.count() / x.shape().back(), x.shape().back()});
}

// [N,H,W,C] -> [N*Ho*Wo, side*side*C]; what is left over below and to the right belongs to no patch.
Tensor patches(const Tensor& x, int64_t side) {
  if (side == 1) return as_rows(x);
  const int64_t rows = x.shape()[1] / side, columns = x.shape()[2] / side, channels = x.shape()[3];
  const Tensor whole = contiguous(slice(slice(x, 1, 0, rows * side), 2, 0, columns * side));
  const Tensor split = reshape(whole, {x.shape()[0], rows, side, columns, side * channels});
  return reshape(contiguous(permute(split, {0, 1, 3, 2, 4})), {x.shape()[0] * rows * columns, side * side * channels});
}

// The inverse, zero where no patch is.
Tensor from_patches(const Tensor& rows_of_patches, int64_t side, const Shape& shape) {
  if (side == 1) return reshape(rows_of_patches, shape);
  const int64_t rows = shape[1] / side, columns = shape[2] / side, channels = shape[3];
  const Tensor split = reshape(rows_of_patches, {shape[0], rows, columns, side, side * channels});
  const Tensor whole =
      reshape(contiguous(permute(split, {0, 1, 3, 2, 4})), {shape[0], rows * side, columns * side, channels});
  return pad(pad(whole, 1, 0, shape[1] - rows * side), 2, 0, shape[2] - columns * side);
}

}  // namespace

PackedFilter::PackedFilter(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute) {
  if (is_product_of_patches(weight, geometry)) {
    side_ = geometry.stride;
    const Tensor last = contiguous(permute(weight, {0, 2, 3, 1}));
    matrix_ = std::make_unique<PackedMatrix>(reshape(last, {weight.shape()[0], last.count() / weight.shape()[0]}), bias,
                                             compute);
  } else if (cpu::WinogradFilter::suits(weight, geometry)) {
    winograd_ = std::make_unique<cpu::WinogradFilter>(weight, bias, geometry.padding, compute);
  } else {
    direct_ = std::make_unique<cpu::DirectFilter>(weight, bias, geometry, compute);
  }
}

void PackedFilter::forward(const Tensor& x, const ConvAddends& plus, Tensor& out) const {
  if (winograd_) return winograd_->forward(x, plus, out);
  if (direct_) return direct_->forward(x, plus, out);
  Tensor residual = plus.residual;
  if (plus.row_bias.defined()) {
    const Tensor everywhere = reshape(plus.row_bias, {out.shape()[0], 1, 1, out.shape()[3]});
    residual =
        residual.defined() ? add(residual, everywhere) : add(Tensor::zeros(out.shape(), out.dtype()), everywhere);
  }
  if (residual.defined()) residual = as_rows(residual);
  out = matrix_->forward(patches(x, side_), {.residual = residual}).view(out.shape(), out.strides(), 0);
}

void PackedFilter::backward(const Tensor& cotangent, Tensor& d_x) const {
  if (winograd_) return winograd_->backward(cotangent, d_x);
  if (direct_) return direct_->backward(cotangent, d_x);
  d_x = from_patches(matrix_->backward(as_rows(cotangent)), side_, d_x.shape());
}

}  // namespace heddle
