// Loops behind ops/elementwise and ops/view: strided operands, f32 and bf16, results rounded once.
#pragma once

#include "kernels/core/tensor.h"

namespace heddle::cpu {

enum class BinaryOp : uint8_t { add, subtract, multiply, divide, maximum };
enum class UnaryOp : uint8_t { affine, square, square_root, exponential, logarithm, absolute, clamp };

// a and b already viewed with out's shape (stride 0 where broadcast); out dense.
void binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& out);
// affine: x * p + r; clamp: to [p, r]; the others ignore p and r.
void unary(UnaryOp op, const Tensor& x, float p, float r, Tensor& out);
void weighted_sum(float a, const Tensor& x, float b, const Tensor& y, Tensor& out);
// Element copy between views of one shape and dtype.
void copy(const Tensor& from, Tensor& to);
// Conversion of dense float tensors.
void cast(const Tensor& from, Tensor& to);

}  // namespace heddle::cpu
