// Adaptive instance normalisation of projections (Huang & Belongie 2017), as StyleAligned applies it.
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

// x and style [R,N,H,D]: x with the mean and deviation that style has over its tokens, for each row, head and channel;
// the deviation is sqrt(unbiased variance + 1e-5).
Tensor adaptive_norm(const Tensor& x, const Tensor& style);

}  // namespace heddle
