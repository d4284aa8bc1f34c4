// The processor's pointwise nonlinearities, on dense tensors of f32 or bf16.
#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"

namespace heddle::cpu {

Tensor activation_forward(const Tensor& x, Activation kind);
Tensor activation_backward(const Tensor& x, const Tensor& d_y, Activation kind);

// x [rows,2n] -> x[:, :n] * gelu(x[:, n:]).
Tensor geglu_forward(const Tensor& x);
Tensor geglu_backward(const Tensor& x, const Tensor& d_y);

}  // namespace heddle::cpu
