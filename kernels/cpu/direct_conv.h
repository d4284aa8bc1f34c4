// Direct convolution through oneDNN, for every kernel size, stride and padding.
#pragma once

#include <mutex>

#include "kernels/core/tensor.h"
#include "kernels/cpu/onednn.h"
#include "kernels/ops/conv2d.h"

namespace heddle::cpu {

class DirectFilter {
 public:
  DirectFilter(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute);
  void forward(const Tensor& x, const ConvAddends& plus, Tensor& out) const;
  void backward(const Tensor& cotangent, Tensor& d_x) const;

 private:
  struct Pictures;  // descriptors of one size of x and y
  Pictures pictures(const Shape& x, const Shape& y) const;
  Prepared prepare_forward(const Pictures& of, bool residual) const;
  Prepared prepare_backward(const Pictures& of) const;
  void run(const Tensor& x, const Tensor& bias, const Tensor& residual, Tensor& out) const;

  int64_t out_, in_, kernel_h_, kernel_w_;
  ConvGeometry geometry_;
  DType stored_;
  Tensor bias_;  // [out] f32, zeros where the layer has none
  PackedBuffer packed_;
  mutable PreparedCache cache_;
  mutable std::once_flag turned_once_;
  mutable PackedBuffer turned_;  // the filter as the backward kernel wants it, made by the first vjp
};

}  // namespace heddle::cpu
