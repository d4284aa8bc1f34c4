// Normalisations: checks, the tape and dispatch. Only the gradient in x exists: weights are never differentiated.
#include "kernels/ops/norm.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/norm.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

void check_input(const Tensor& x, int min_rank, const char* op) {
  if (x.rank() < min_rank || (x.dtype() != DType::f32 && x.dtype() != DType::bf16)) {
    fail(ErrorCode::internal, op, "f32 or bf16 of rank " + std::to_string(min_rank) + " or more",
         std::string(name_of(x.dtype())) + " " + x.shape().text());
  }
}

void check_vector(const Tensor& weight, int64_t channels, const char* op, const char* name) {
  if (!weight.defined()) return;
  if (!(weight.shape() == Shape{channels}) || weight.dtype() != DType::f32 || !weight.is_contiguous()) {
    fail(ErrorCode::internal, op, std::string(name) + " f32 " + Shape{channels}.text(),
         std::string(name_of(weight.dtype())) + " " + weight.shape().text());
  }
}

void check_rows(std::span<const int64_t> pooled_with, int64_t rows) {
  const auto inside = [&](int64_t row) { return row >= 0 && row < rows; };
  if (pooled_with.empty()) return;
  if (static_cast<int64_t>(pooled_with.size()) != rows || !std::ranges::all_of(pooled_with, inside)) {
    fail(ErrorCode::internal, "group_norm",
         "a row of 0.." + std::to_string(rows - 1) + " for each row to be pooled with",
         std::to_string(pooled_with.size()) + " numbers");
  }
}

// [N,...,C] -> [N,L,C] of a dense tensor.
Tensor as_rows(const Tensor& x, int64_t n) {
  const Shape shape{n, x.count() / (n * x.dim(-1)), x.dim(-1)};
  return x.view(shape, row_major_strides(shape), 0);
}

Tensor cotangent(const Tensor& d_y, const Tensor& x) {
  return contiguous(to(d_y, x.dtype()));
}

Tensor shaped_as(const Tensor& y, const Tensor& x) {
  return y.view(x.shape(), row_major_strides(x.shape()), 0);
}

// x as [L,R,C], without a copy where its leading axes are two runs: so are q and k within a joined projection.
Tensor in_two_runs(const Tensor& x) {
  const int last = x.rank() - 1;
  Shape shape{1, 1, x.shape()[last]}, strides{0, 0, 1};
  int run = 1;
  for (int axis = last - 1; axis >= 0; --axis) {
    const int64_t extent = x.shape()[axis], stride = x.strides()[axis];
    if (extent == 1) continue;
    if (shape[run] > 1 && stride != strides[run] * shape[run]) --run;
    if (run < 0) return as_rows(contiguous(x), 1);
    if (shape[run] == 1) strides[run] = stride;
    shape[run] *= extent;
  }
  return x.strides()[last] == 1 ? x.view(shape, strides, 0) : as_rows(contiguous(x), 1);
}

Tensor row_norm(const Tensor& x, const cpu::RowNormCall& weights) {
  if (x.count() == 0) return x;
  cpu::RowNormCall call = weights;
  call.x = in_two_runs(x.detach());
  const cpu::Normalised made = cpu::row_norm_forward(call);
  return record(shaped_as(made.y, x), {x}, [call, stats = made.stats](const Tensor& d_y) -> std::vector<Tensor> {
    return {shaped_as(cpu::row_norm_backward(call, stats, cotangent(d_y, call.x)), d_y)};
  });
}

Tensor row_norm(const Tensor& x, const cpu::RowNormCall& weights, const char* op) {
  check_input(x, 1, op);
  check_vector(weights.gamma, x.dim(-1), op, "gamma");
  check_vector(weights.beta, x.dim(-1), op, "beta");
  return row_norm(x, weights);
}

// [B,C] as a factor of [B,...,C].
Tensor over_tokens(const Tensor& w, const Tensor& x) {
  Shape shape = x.shape();
  for (int axis = 1; axis + 1 < shape.rank(); ++axis) shape[axis] = 1;
  return reshape(w, shape);
}

}  // namespace

Tensor group_norm(const Tensor& given, const Tensor& gamma, const Tensor& beta, const GroupNormOptions& options,
                  std::span<const int64_t> pooled_with) {
  check_input(given, 2, "group_norm");
  const int64_t channels = given.dim(-1);
  if (options.groups <= 0 || channels % options.groups != 0) {
    fail(ErrorCode::internal, "group_norm", std::to_string(options.groups) + " groups that divide the channels",
         given.shape().text());
  }
  if (options.then != Activation::none && options.then != Activation::silu) {
    fail(ErrorCode::internal, "group_norm", "silu or none afterwards", "another activation", "activate()");
  }
  check_vector(gamma, channels, "group_norm", "gamma");
  check_vector(beta, channels, "group_norm", "beta");
  check_rows(pooled_with, given.dim(0));
  if (given.count() == 0) return given;
  const Tensor x = contiguous(given);
  const int64_t n = x.dim(0);
  const cpu::GroupNormCall call{as_rows(x, n), gamma, beta, options, {pooled_with.begin(), pooled_with.end()}};
  const cpu::Normalised made = cpu::group_norm_forward(call);
  return record(shaped_as(made.y, x), {x}, [call, n, stats = made.stats](const Tensor& d_y) -> std::vector<Tensor> {
    return {shaped_as(cpu::group_norm_backward(call, stats, as_rows(cotangent(d_y, call.x), n)), d_y)};
  });
}

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  return row_norm(x, {.gamma = gamma, .beta = beta, .eps = eps, .centred = true}, "layer_norm");
}

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps) {
  return row_norm(x, {.gamma = gamma, .eps = eps, .centred = false}, "rms_norm");
}

Tensor modulated_norm(const Tensor& x, const Modulation& by, double eps) {
  check_input(x, 2, "modulated_norm");
  for (const Tensor& w : {by.shift, by.scale}) {
    if (!(w.shape() == Shape{x.dim(0), x.dim(-1)}) || w.dtype() != x.dtype()) {
      fail(ErrorCode::internal, "modulated_norm", "shift and scale [B,C] of x's dtype", w.shape().text());
    }
  }
  if (any_tracked({by.shift, by.scale})) {
    const Tensor factor = over_tokens(add_constant(by.scale, 1), x);
    return add(multiply(layer_norm(x, {}, {}, eps), factor), over_tokens(by.shift, x));
  }
  const Tensor gamma = add_constant(contiguous(to(by.scale, DType::f32)), 1),
               beta = contiguous(to(by.shift, DType::f32));
  return row_norm(x, {.gamma = gamma, .beta = beta, .eps = eps, .centred = true});
}

}  // namespace heddle
