// Tensors as products see them: rows whose leading axes are joined into one. Public to ops only.
#pragma once

#include <optional>

#include "kernels/core/tensor.h"

namespace heddle {

// The leading axes of x joined into one, without a copy, keeping the last `kept` axes; nothing where strides forbid it.
std::optional<Tensor> joined_lead(const Tensor& x, int kept);
// x as rows [M,C], each dense; detached.
Tensor rows_of(const Tensor& x);
// The same, and the rows one after the other.
Tensor dense_rows(const Tensor& x);

}  // namespace heddle
