// Convolutions: a filter packed for the algorithm that suits its size, stride and channels.
#pragma once

#include <memory>

#include "kernels/cpu/direct_conv.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/winograd.h"
#include "kernels/ops/conv2d.h"

namespace heddle {

struct PackedFilter {
  // `weight` [out,in,kh,kw] in any float dtype, `bias` [out] or undefined.
  PackedFilter(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute);

  // x [N,H,W,in], addends and out [N,Ho,Wo,out], all dense; in the dtype `compute`.
  void forward(const Tensor& x, const ConvAddends& plus, Tensor& out) const;
  // cotangent [N,Ho,Wo,out] -> d_x [N,H,W,in].
  void backward(const Tensor& cotangent, Tensor& d_x) const;

 private:
  std::unique_ptr<PackedMatrix> matrix_;           // patches that do not overlap, 1x1 among them; no padding
  int64_t side_ = 1;                               // of a patch
  std::unique_ptr<cpu::WinogradFilter> winograd_;  // 3x3, stride 1
  std::unique_ptr<cpu::DirectFilter> direct_;      // all others
};

}  // namespace heddle
