// The choice of a convolution's algorithm.
#include "kernels/cpu/conv2d.h"

#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

bool is_matrix(const Tensor& weight, const ConvGeometry& geometry) {
  const Padding& p = geometry.padding;
  return weight.shape()[2] == 1 && weight.shape()[3] == 1 && geometry.stride == 1 && p.top + p.left + p.bottom + p.right == 0;
}

Tensor as_rows(const Tensor& x) { return reshape(x, {x.count() / x.shape().back(), x.shape().back()}); }

}  // namespace

PackedFilter::PackedFilter(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute) {
  if (is_matrix(weight, geometry)) {
    matrix_ = std::make_unique<PackedMatrix>(reshape(weight, {weight.shape()[0], weight.shape()[1]}), bias, compute);
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
    residual = residual.defined() ? add(residual, everywhere) : add(Tensor::zeros(out.shape(), out.dtype()), everywhere);
  }
  if (residual.defined()) residual = as_rows(residual);
  out = matrix_->forward(as_rows(x), {.residual = residual}).view(out.shape(), out.strides(), 0);
}

void PackedFilter::backward(const Tensor& cotangent, Tensor& d_x) const {
  if (winograd_) return winograd_->backward(cotangent, d_x);
  if (direct_) return direct_->backward(cotangent, d_x);
  d_x = matrix_->backward(as_rows(cotangent)).view(d_x.shape(), d_x.strides(), 0);
}

}  // namespace heddle
