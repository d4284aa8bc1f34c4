// A Gaussian over the grid that tokens were flattened from.
#pragma once

#include "attention_control/plan/site.h"
#include "kernels/core/tensor.h"

namespace heddle {

// Index i of an axis that is mirrored at its ends, without repeating them.
int64_t reflected(int64_t i, int64_t extent);

// x [R,N,H,D], N = grid.height * grid.width -> the same, blurred as SEG's code does: ceil(6 sigma) taps, made odd, no
// more than the side allows, normalised, edges reflected; above sigma 9999 the mean of all tokens. Differentiable.
Tensor blur_tokens(const Tensor& x, const TokenSegment& grid, double sigma);

}  // namespace heddle
