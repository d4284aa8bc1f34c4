// Softmax over one axis, computed in f32 with the maximum subtracted first.
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

Tensor softmax(const Tensor& x, int axis = -1);

}  // namespace heddle
