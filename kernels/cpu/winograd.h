// Winograd convolution F(4x4,3x3) (Winograd 1980; Lavin & Gray 2016) for 3x3 filters of stride 1: 36 products for 16
// results in place of 144. Transforms and products in f32 for either dtype; the filter is kept once, untransformed, and
// its transform is made anew for each block of channels, so that it costs no more memory than a direct convolution.
#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/conv2d.h"

namespace heddle::cpu {

class WinogradFilter {
 public:
  WinogradFilter(const Tensor& weight, const Tensor& bias, const Padding& padding, DType compute);
  static bool suits(const Tensor& weight, const ConvGeometry& geometry);

  void forward(const Tensor& x, const ConvAddends& plus, Tensor& out) const;
  void backward(const Tensor& cotangent, Tensor& d_x) const;

 private:
  Tensor bias_rows(const Tensor& row_bias) const;

  int64_t out_, in_;
  Padding padding_;
  Tensor bias_;    // [out] f32 or undefined
  Tensor packed_;  // [out/32][in][9][32], zeros after the last output channel
};

}  // namespace heddle::cpu
