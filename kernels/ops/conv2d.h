// Two-dimensional convolution on channels-last pictures. The weight is packed once; the algorithm (1x1 as a product,
// Winograd, direct) is chosen by kernel size, stride and dtype.
#pragma once

#include <memory>

#include "kernels/core/tensor.h"

namespace heddle {

struct Padding {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  static Padding same(int64_t n) { return {n, n, n, n}; }
};

struct ConvGeometry {
  int64_t stride = 1;
  Padding padding;
};

struct PackedFilter;  // the processor's form; kernels/cpu

class ConvWeight {
 public:
  ConvWeight() = default;
  // `weight` [out, in, kh, kw] in any float dtype, `bias` [out] or undefined.
  ConvWeight(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute);

  bool defined() const { return packed_ != nullptr; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  int64_t kernel_h() const { return kernel_h_; }
  int64_t kernel_w() const { return kernel_w_; }
  const ConvGeometry& geometry() const { return geometry_; }
  DType dtype() const { return dtype_; }
  const PackedFilter& packed() const { return *packed_; }

 private:
  std::shared_ptr<PackedFilter> packed_;
  int64_t in_ = 0, out_ = 0, kernel_h_ = 0, kernel_w_ = 0;
  ConvGeometry geometry_;
  DType dtype_ = DType::f32;
};

// What is added to the result in the same pass; each may be undefined.
struct ConvAddends {
  Tensor residual = {};  // [N,Ho,Wo,out]
  Tensor row_bias = {};  // [N,out]: one vector for all positions of a picture (time embedding)
};

// x [N,H,W,in] -> [N,Ho,Wo,out], Ho = (H + top + bottom - kh) / stride + 1.
Tensor conv2d(const Tensor& x, const ConvWeight& weight, const ConvAddends& plus = {});

}  // namespace heddle
