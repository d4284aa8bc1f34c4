// Sums, means and maxima over axes, accumulated in f32.
#pragma once

#include <span>

#include "kernels/core/tensor.h"

namespace heddle {

enum class Axes : uint8_t { drop, keep };  // whether a reduced axis stays, with extent 1

Tensor sum(const Tensor& x);  // [] of all elements
Tensor sum(const Tensor& x, std::initializer_list<int> axes, Axes kept = Axes::drop);
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, std::initializer_list<int> axes, Axes kept = Axes::drop);
Tensor max(const Tensor& x, int axis, Axes kept = Axes::drop);  // the gradient goes to the first maximum

}  // namespace heddle
