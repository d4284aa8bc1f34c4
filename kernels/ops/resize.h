// Resampling of channels-last pictures [N,H,W,C].
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

Tensor upsample_nearest(const Tensor& x, int64_t height, int64_t width);  // source index floor(i * H / height)
Tensor resize_bilinear(const Tensor& x, int64_t height, int64_t width);   // corners not aligned, no antialiasing
Tensor average_pool(const Tensor& x, int64_t size);                       // size x size windows, stride = size

}  // namespace heddle
