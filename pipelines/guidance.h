// Classifier-free guidance (Ho & Salimans 2022) and its rescaling (Lin et al. 2023, section 3.4).
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

struct Guidance {
  double scale = 1;    // of cond - uncond; at 1 and below only the conditional rows are evaluated
  double rescale = 0;  // phi: share of the result brought back to the conditional prediction's deviation
};

// prediction [2n,C,H,W], unconditional rows first -> [n,C,H,W]
Tensor guide(const Tensor& prediction, const Guidance& guidance);

}  // namespace heddle
