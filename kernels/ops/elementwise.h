// Elementwise arithmetic with numpy's broadcasting. Inputs share a float dtype (f32 or bf16); each result is computed
// in f32 and rounded once. A tensor of one element given as double stands for a constant and is never differentiated.
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

Tensor add(const Tensor& a, const Tensor& b);
Tensor subtract(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor divide(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);  // the gradient goes to a where they are equal

Tensor scale(const Tensor& x, double factor);
Tensor add_constant(const Tensor& x, double constant);
// a * x + b * y in one pass over memory; x and y have one shape. Solver updates are made of it.
Tensor weighted_sum(double a, const Tensor& x, double b, const Tensor& y);

Tensor square(const Tensor& x);
Tensor square_root(const Tensor& x);
Tensor exponential(const Tensor& x);
Tensor logarithm(const Tensor& x);
Tensor absolute(const Tensor& x);
Tensor clamp(const Tensor& x, double low, double high);  // no gradient outside the range

// Shape of a op b; Error(internal) naming `op` when the shapes do not broadcast.
Shape broadcast_shape(const Shape& a, const Shape& b, const char* op);
// Sums a cotangent over the axes that broadcasting had stretched, so that it has `shape` again.
Tensor sum_to(const Tensor& cotangent, const Shape& shape);

}  // namespace heddle
