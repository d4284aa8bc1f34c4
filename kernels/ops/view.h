// Shapes: reshape, permute and slice are views where the layout allows; concat, pad, gather and repeat copy.
#pragma once

#include <span>
#include <vector>

#include "kernels/core/tensor.h"

namespace heddle {

Tensor reshape(const Tensor& x, const Shape& shape);
Tensor permute(const Tensor& x, std::initializer_list<int> axes);
Tensor transpose(const Tensor& x);  // the last two axes
Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end);
std::vector<Tensor> split(const Tensor& x, int axis, int64_t parts);
Tensor contiguous(const Tensor& x);  // x itself where it is dense
Tensor concat(std::span<const Tensor> parts, int axis);
inline Tensor concat(std::initializer_list<Tensor> parts, int axis) {
  return concat(std::span(parts.begin(), parts.size()), axis);
}
// x with `part` in place of the slice that begins at `begin`.
Tensor with_slice(const Tensor& x, int axis, int64_t begin, const Tensor& part);
Tensor pad(const Tensor& x, int axis, int64_t before, int64_t after, float value = 0);
Tensor repeat(const Tensor& x, int axis, int64_t times);                     // [a, b] -> [a, b, a, b]
Tensor gather(const Tensor& x, int axis, std::span<const int64_t> indices);  // rows in the order asked, repeats allowed

Tensor channels_last(const Tensor& x);   // [N,C,H,W] -> [N,H,W,C], dense
Tensor channels_first(const Tensor& x);  // [N,H,W,C] -> [N,C,H,W], dense

Tensor to(const Tensor& x, DType dtype);  // the gradient comes back in x's dtype

}  // namespace heddle
