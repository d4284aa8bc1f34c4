// Panels of a quantised matrix through oneDNN: about two million numbers at a time, which is small beside the matrix
// and large enough for the product to be worth its name.
#include "kernels/cpu/quantized_product.h"

#include <algorithm>

#include "kernels/cpu/dequantize.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr int64_t panel_numbers = int64_t{1} << 21;

// [M,N] as [1,M,N]: what batched products take. The batch's stride spans the matrix, as if another followed: by any
// other oneDNN does not see rows or columns in it and falls back to its reference loops.
Tensor batch_of_one(const Tensor& x) {
  const int64_t span = std::max(x.dim(0) * x.stride(0), x.dim(1) * x.stride(1));
  return x.view({1, x.dim(0), x.dim(1)}, {span, x.stride(0), x.stride(1)}, 0);
}

// then(y + bias), gated, and the residual added: y is [M,N] f32, the result in `dtype`.
Tensor finished(Tensor y, const Tensor& bias, const cpu::Epilogue& then, DType dtype) {
  if (bias.defined()) y = add(y, bias);
  if (then.then != Activation::none) y = activate(y, then.then);
  if (then.gate.defined()) {
    const int64_t groups = then.gate.dim(0), rows = y.dim(0), columns = y.dim(1);
    const Tensor gates = reshape(then.gate, {groups, 1, columns});
    y = reshape(multiply(reshape(y, {groups, rows / groups, columns}), gates), {rows, columns});
  }
  if (then.residual.defined()) y = add(y, to(then.residual, DType::f32));
  return to(y, dtype);
}

}  // namespace

QuantizedProduct::QuantizedProduct(QuantizedMatrix matrix, const Tensor& bias, const std::vector<LowRank>& beside,
                                   DType compute)
    : matrix_(std::move(matrix)), compute_(cpu::product_dtype(compute)) {
  if (bias.defined()) bias_ = contiguous(to(bias, DType::f32)).detach();
  for (const LowRank& low : beside) beside_.push_back(std::make_unique<Branch>(low));
}

template <typename F>
void QuantizedProduct::for_panels(const F& f) const {
  const int64_t rows = matrix_.rows(), columns = matrix_.columns();
  const int64_t most = std::clamp<int64_t>(panel_numbers / columns / 16 * 16, 16, rows);
  for (int64_t begin = 0; begin < rows; begin += most) {
    const int64_t end = std::min(begin + most, rows);
    Tensor panel = Tensor::empty({end - begin, columns}, compute_);
    cpu::dequantize(matrix_.row_range(begin, end), panel);
    f(panel, begin);
  }
}

Tensor QuantizedProduct::product(const Tensor& x) const {
  const Tensor in = to(x, compute_);
  Tensor y = Tensor::empty({x.dim(0), matrix_.rows()});
  for_panels([&](const Tensor& panel, int64_t begin) {
    const int64_t rows = panel.dim(0);
    Tensor part = slice(y, 1, begin, begin + rows);
    Tensor out = batch_of_one(part);
    cpu::batched_product(batch_of_one(in), batch_of_one(transpose(panel)), out);
  });
  return y;
}

Tensor QuantizedProduct::forward(const Tensor& x, cpu::Epilogue then) const {
  Tensor y = product(x);
  for (const auto& branch : beside_)
    y = branch->up.forward(branch->down.forward(to(x, DType::f32), {}), {.residual = y});
  return finished(y, bias_, then, x.dtype());
}

Tensor QuantizedProduct::backward(const Tensor& cotangent) const {
  const Tensor d_y = to(cotangent, compute_);
  Tensor d_x;
  for_panels([&](const Tensor& panel, int64_t begin) {
    Tensor part = Tensor::empty({cotangent.dim(0), panel.dim(1)});
    Tensor out = batch_of_one(part);
    cpu::batched_product(batch_of_one(slice(d_y, 1, begin, begin + panel.dim(0))), batch_of_one(panel), out);
    d_x = d_x.defined() ? add(d_x, part) : part;
  });
  for (const auto& branch : beside_)
    d_x = add(d_x, branch->down.backward(branch->up.backward(contiguous(to(cotangent, DType::f32)))));
  return to(d_x, cotangent.dtype());
}

}  // namespace heddle
