// Matrix products. A weight is packed once for the processor's kernels and for one compute dtype, then used many times;
// a quantised one stays as it is stored, and panels of it become numbers while they are used.
#pragma once

#include <memory>

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/quantized.h"

namespace heddle {

struct MatrixProduct;  // the processor's form; kernels/cpu

// y = x W^T + b. `weight` [out, in] in any float dtype, `bias` [out] or undefined; computing in f32 or bf16.
class LinearWeight {
 public:
  LinearWeight() = default;
  LinearWeight(const Tensor& weight, const Tensor& bias, DType compute);
  LinearWeight(const QuantizedWeight& weight, const Tensor& bias, DType compute);

  bool defined() const { return product_ != nullptr; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  DType dtype() const { return dtype_; }
  const MatrixProduct& product() const { return *product_; }

 private:
  std::shared_ptr<MatrixProduct> product_;  // also holds what the vjp needs, packed at its first use
  int64_t in_ = 0, out_ = 0;
  DType dtype_ = DType::f32;
};

// x [..., in] -> [..., out], plus `residual` [..., out] where it is defined, in the same pass.
Tensor linear(const Tensor& x, const LinearWeight& weight, const Tensor& residual = {});

// residual + gate * (x W^T + b) in one pass: x [B,...,in], residual [B,...,out], and one gate [B,out] a picture.
Tensor gated_linear(const Tensor& x, const LinearWeight& weight, const Tensor& gate, const Tensor& residual);

// then(x W^T + b), in one pass where nothing will be differentiated.
Tensor activated_linear(const Tensor& x, const LinearWeight& weight, Activation then);

// Batched product of activations, a [..., M, K] and b [..., K, N] with equal leading axes (or none on b);
// differentiable in both. Transposed operands are views: matmul(a, transpose(b)).
Tensor matmul(const Tensor& a, const Tensor& b);

}  // namespace heddle
