// Linear layers: checks, shapes, gradients.
#include "kernels/ops/linear.h"

#include <string>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/quantized_product.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rows.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// The shape of x W^T, which the residual must have.
Shape checked_result(const Tensor& x, const LinearWeight& weight, const Tensor& residual) {
  Shape shape = x.shape();
  if (x.rank() < 1 || shape.back() != weight.in() || x.dtype() != weight.dtype()) {
    fail(ErrorCode::internal, "linear",
         "[..., " + std::to_string(weight.in()) + "] " + std::string(name_of(weight.dtype())),
         shape.text() + " " + std::string(name_of(x.dtype())));
  }
  shape[shape.rank() - 1] = weight.out();
  if (residual.defined() && (!(residual.shape() == shape) || residual.dtype() != x.dtype())) {
    fail(ErrorCode::internal, "linear", "a residual " + shape.text() + " of x's dtype", residual.shape().text());
  }
  return shape;
}

// [B,C] as a factor of [B,...,C].
Tensor over_rows(const Tensor& gate, const Shape& shape) {
  Shape stretched = shape;
  for (int axis = 1; axis + 1 < shape.rank(); ++axis) stretched[axis] = 1;
  return reshape(gate, stretched);
}

void check(const Shape& weight, const Tensor& bias, DType compute) {
  if (weight.rank() != 2 || weight.count() == 0 || (bias.defined() && !(bias.shape() == Shape{weight[0]})) ||
      (compute != DType::f32 && compute != DType::bf16)) {
    fail(ErrorCode::internal, "linear", "a weight [out, in], a bias [out] and a compute dtype f32 or bf16",
         weight.text() + (bias.defined() ? " and " + bias.shape().text() : "") + ", " + std::string(name_of(compute)));
  }
}

}  // namespace

LinearWeight::LinearWeight(const Tensor& weight, const Tensor& bias, DType compute) : dtype_(compute) {
  check(weight.shape(), bias, compute);
  out_ = weight.shape()[0];
  in_ = weight.shape()[1];
  product_ = std::make_shared<PackedMatrix>(weight, bias, compute);
}

LinearWeight::LinearWeight(const QuantizedWeight& weight, const Tensor& bias, DType compute)
    : in_(weight.matrix.columns()), out_(weight.matrix.rows()), dtype_(compute) {
  check({out_, in_}, bias, compute);
  product_ = std::make_shared<QuantizedProduct>(weight.matrix, bias, weight.beside, compute);
}

Tensor linear(const Tensor& x, const LinearWeight& weight, const Tensor& residual) {
  const Shape shape = checked_result(x, weight, residual);
  count_flops(2 * shape.count() * weight.in());
  Tensor out = shape.count() == 0 ? Tensor::empty(shape, x.dtype())
                                  : weight.product().forward(
                                        rows_of(x), {.residual = residual.defined() ? dense_rows(residual) : Tensor()});
  out = out.view(shape, row_major_strides(shape), 0);
  return record(out, {x, residual}, [weight, before = x.shape(), wanted = x.is_tracked()](const Tensor& c) {
    if (wanted) count_flops(2 * c.count() * weight.in());
    std::vector<Tensor> back{Tensor(), c};
    if (wanted && c.count() == 0)
      back[0] = Tensor::zeros(before, c.dtype());
    else if (wanted)
      back[0] = reshape(weight.product().backward(rows_of(c)), before);
    return back;
  });
}

Tensor gated_linear(const Tensor& x, const LinearWeight& weight, const Tensor& gate, const Tensor& residual) {
  const Shape shape = checked_result(x, weight, residual);
  if (x.rank() < 2 || !(gate.shape() == Shape{x.dim(0), weight.out()}) || gate.dtype() != x.dtype() ||
      !residual.defined()) {
    fail(ErrorCode::internal, "gated_linear", "a residual and a gate [B,out] of x's dtype", gate.shape().text());
  }
  if (any_tracked({gate}) || shape.count() == 0)
    return add(multiply(linear(x, weight), over_rows(gate, shape)), residual);
  count_flops(2 * shape.count() * weight.in());
  const cpu::Epilogue then{.residual = dense_rows(residual), .gate = contiguous(to(gate, DType::f32))};
  const Tensor out = weight.product().forward(rows_of(x), then).view(shape, row_major_strides(shape), 0);
  return record(out, {x, residual}, [weight, gate, before = x.shape(), wanted = x.is_tracked()](const Tensor& c) {
    std::vector<Tensor> back{Tensor(), c};
    if (!wanted) return back;
    count_flops(2 * c.count() * weight.in());
    const Tensor through = multiply(c, over_rows(gate, c.shape()));
    back[0] = reshape(weight.product().backward(rows_of(through)), before);
    return back;
  });
}

Tensor activated_linear(const Tensor& x, const LinearWeight& weight, Activation then) {
  const Shape shape = checked_result(x, weight, {});
  // The product's own pass knows GELU; its slope needs what the product alone gave.
  if (then != Activation::gelu_tanh || x.is_tracked() || shape.count() == 0) return activate(linear(x, weight), then);
  count_flops(2 * shape.count() * weight.in());
  return weight.product().forward(rows_of(x), {.then = then}).view(shape, row_major_strides(shape), 0);
}

}  // namespace heddle
