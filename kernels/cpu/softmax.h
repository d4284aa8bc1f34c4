// The processor's softmax over the middle axis of [outer,length,inner].
#pragma once

#include "kernels/core/tensor.h"

namespace heddle::cpu {

Tensor softmax_forward(const Tensor& x);
Tensor softmax_backward(const Tensor& y, const Tensor& d_y);  // y * (dy - sum(y * dy))

}  // namespace heddle::cpu
