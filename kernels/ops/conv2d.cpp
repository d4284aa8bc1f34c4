// Convolution: checks, shape, gradients.
#include "kernels/ops/conv2d.h"

#include <string>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/conv2d.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr int64_t largest_padding = 1 << 20;

bool is_sane(const ConvGeometry& g) {
  bool sane = g.stride >= 1;
  for (const int64_t p : {g.padding.top, g.padding.left, g.padding.bottom, g.padding.right}) sane &= p >= 0 && p <= largest_padding;
  return sane;
}

Shape result_shape(const Tensor& x, const ConvWeight& weight) {
  const ConvGeometry& g = weight.geometry();
  if (x.rank() != 4 || x.shape()[3] != weight.in() || x.dtype() != weight.dtype()) {
    fail(ErrorCode::internal, "conv2d", "[N, H, W, " + std::to_string(weight.in()) + "] " + std::string(name_of(weight.dtype())),
         x.shape().text() + " " + std::string(name_of(x.dtype())));
  }
  const int64_t height = x.shape()[1] + g.padding.top + g.padding.bottom - weight.kernel_h();
  const int64_t width = x.shape()[2] + g.padding.left + g.padding.right - weight.kernel_w();
  if (height < 0 || width < 0) {
    fail(ErrorCode::input, "conv2d", "a picture of at least the kernel's size", x.shape().text(), "a larger picture");
  }
  return {x.shape()[0], height / g.stride + 1, width / g.stride + 1, weight.out()};
}

void check_addends(const Tensor& x, const ConvAddends& plus, const Shape& out) {
  const Shape row{out[0], out[3]};
  if (plus.residual.defined() && (!(plus.residual.shape() == out) || plus.residual.dtype() != x.dtype())) {
    fail(ErrorCode::internal, "conv2d", "a residual " + out.text() + " of x's dtype", plus.residual.shape().text());
  }
  if (plus.row_bias.defined() && (!(plus.row_bias.shape() == row) || plus.row_bias.dtype() != x.dtype())) {
    fail(ErrorCode::internal, "conv2d", "a row_bias " + row.text() + " of x's dtype", plus.row_bias.shape().text());
  }
}

Tensor dense(const Tensor& x) { return x.defined() ? contiguous(x.detach()) : x; }

}  // namespace

ConvWeight::ConvWeight(const Tensor& weight, const Tensor& bias, const ConvGeometry& geometry, DType compute)
    : geometry_(geometry), dtype_(compute) {
  if (weight.rank() != 4 || weight.count() == 0 || (bias.defined() && !(bias.shape() == Shape{weight.shape()[0]})) ||
      !is_sane(geometry) || (compute != DType::f32 && compute != DType::bf16)) {
    fail(ErrorCode::internal, "conv2d", "a weight [out, in, kh, kw], a bias [out], stride >= 1 and padding >= 0",
         weight.shape().text() + (bias.defined() ? " and " + bias.shape().text() : "") + ", stride " +
             std::to_string(geometry.stride));
  }
  out_ = weight.shape()[0];
  in_ = weight.shape()[1];
  kernel_h_ = weight.shape()[2];
  kernel_w_ = weight.shape()[3];
  packed_ = std::make_shared<PackedFilter>(weight, bias, geometry, compute);
}

Tensor conv2d(const Tensor& x, const ConvWeight& weight, const ConvAddends& plus) {
  const Shape shape = result_shape(x, weight);
  check_addends(x, plus, shape);
  const int64_t per_element = 2 * weight.in() * weight.kernel_h() * weight.kernel_w();
  count_flops(shape.count() * per_element);
  Tensor out = Tensor::empty(shape, x.dtype());
  if (shape.count() > 0) weight.packed().forward(dense(x), {dense(plus.residual), dense(plus.row_bias)}, out);
  return record(out, {x, plus.residual, plus.row_bias},
                [weight, per_element, before = x.shape(), x_wanted = x.is_tracked(),
                 rows_wanted = plus.row_bias.defined() && plus.row_bias.is_tracked()](const Tensor& c) {
                  std::vector<Tensor> back{Tensor(), c, Tensor()};
                  if (x_wanted) back[0] = c.count() > 0 ? Tensor::empty(before, c.dtype()) : Tensor::zeros(before, c.dtype());
                  if (x_wanted) count_flops(c.count() * per_element);
                  if (x_wanted && c.count() > 0) weight.packed().backward(dense(c), back[0]);
                  if (rows_wanted) back[2] = sum(c, {1, 2});
                  return back;
                });
}

}  // namespace heddle
