// Linear layers and products of activations: checks, shapes, gradients.
#include "kernels/ops/linear.h"

#include <optional>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/matmul.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// The leading axes of x joined into one, without a copy, keeping the last `kept` axes; nothing where strides forbid it.
std::optional<Tensor> joined_lead(const Tensor& x, int kept) {
  const int lead = x.rank() - kept;
  int64_t count = 1, stride = 0;
  for (int i = lead - 1; i >= 0; --i) {
    if (x.shape()[i] == 1) continue;
    if (count == 1) stride = x.strides()[i];
    else if (x.strides()[i] != stride * count) return std::nullopt;
    count *= x.shape()[i];
  }
  Shape shape{count}, strides{stride};
  for (int i = lead; i < x.rank(); ++i) {
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  return x.view(shape, strides, 0);
}

// x as rows [M, C], each dense.
Tensor rows_of(const Tensor& tracked) {
  const Tensor x = tracked.detach();
  const auto joined = joined_lead(x, 1);
  const int64_t columns = x.shape().back();
  if (joined && (columns == 1 || joined->strides()[1] == 1) && (joined->shape()[0] == 1 || joined->strides()[0] >= columns)) {
    const int64_t stride = joined->shape()[0] == 1 ? columns : joined->strides()[0];
    return joined->view(joined->shape(), {stride, 1}, 0);
  }
  return reshape(x, {columns > 0 ? x.count() / columns : 0, columns});
}

Tensor dense_rows(const Tensor& x) {
  const int64_t columns = x.shape().back();
  return reshape(x.detach(), {columns > 0 ? x.count() / columns : 0, columns});
}

// x as [B, M, N] with one of the last two strides 1 and the other covering it.
Tensor batch_of(const Tensor& x) {
  const auto joined = joined_lead(x, 2);
  if (joined) {
    const int64_t m = joined->shape()[1], n = joined->shape()[2], batch = joined->shape()[0];
    int64_t down = joined->strides()[1], along = joined->strides()[2], between = joined->strides()[0];
    if (n == 1) along = down == 1 ? m : 1;
    if (m == 1) down = along == 1 ? n : 1;
    if (batch == 1) between = m * n;
    const bool row_major = along == 1 && down >= n, column_major = down == 1 && along >= m;
    if ((row_major || column_major) && between > 0) return joined->view(joined->shape(), {between, down, along}, 0);
  }
  const int64_t m = x.dim(-2), n = x.dim(-1);
  return reshape(x, {m * n > 0 ? x.count() / (m * n) : 0, m, n});
}

void check_pair(const Tensor& a, const Tensor& b) {
  bool fits = a.rank() >= 2 && b.rank() >= 2 && (b.rank() == a.rank() || b.rank() == 2) && a.dim(-1) == b.dim(-2) &&
              a.dtype() == b.dtype() && (a.dtype() == DType::f32 || a.dtype() == DType::bf16);
  for (int i = 0; fits && b.rank() == a.rank() && i < a.rank() - 2; ++i) fits = a.shape()[i] == b.shape()[i];
  if (!fits) {
    fail(ErrorCode::internal, "matmul", "[..., M, K] and [..., K, N] of one float dtype",
         a.shape().text() + " " + std::string(name_of(a.dtype())) + " and " + b.shape().text() + " " + std::string(name_of(b.dtype())));
  }
}

}  // namespace

LinearWeight::LinearWeight(const Tensor& weight, const Tensor& bias, DType compute) : dtype_(compute) {
  if (weight.rank() != 2 || weight.count() == 0 || (bias.defined() && !(bias.shape() == Shape{weight.shape()[0]})) ||
      (compute != DType::f32 && compute != DType::bf16)) {
    fail(ErrorCode::internal, "linear", "a weight [out, in], a bias [out] and a compute dtype f32 or bf16",
         weight.shape().text() + (bias.defined() ? " and " + bias.shape().text() : "") + ", " + std::string(name_of(compute)));
  }
  out_ = weight.shape()[0];
  in_ = weight.shape()[1];
  packed_ = std::make_shared<PackedMatrix>(weight, bias, compute);
}

Tensor linear(const Tensor& x, const LinearWeight& weight, const Tensor& residual) {
  Shape shape = x.shape();
  if (x.rank() < 1 || shape.back() != weight.in() || x.dtype() != weight.dtype()) {
    fail(ErrorCode::internal, "linear", "[..., " + std::to_string(weight.in()) + "] " + std::string(name_of(weight.dtype())),
         shape.text() + " " + std::string(name_of(x.dtype())));
  }
  shape[shape.rank() - 1] = weight.out();
  if (residual.defined() && (!(residual.shape() == shape) || residual.dtype() != x.dtype())) {
    fail(ErrorCode::internal, "linear", "a residual " + shape.text() + " of x's dtype", residual.shape().text());
  }
  count_flops(2 * shape.count() * weight.in());
  Tensor out = shape.count() == 0 ? Tensor::empty(shape, x.dtype())
                                  : weight.packed().forward(rows_of(x), residual.defined() ? dense_rows(residual) : Tensor());
  out = out.view(shape, row_major_strides(shape), 0);
  return record(out, {x, residual},
                [weight, before = x.shape(), wanted = x.is_tracked()](const Tensor& c) {
                  if (wanted) count_flops(2 * c.count() * weight.in());
                  std::vector<Tensor> back{Tensor(), c};
                  if (wanted && c.count() == 0) back[0] = Tensor::zeros(before, c.dtype());
                  else if (wanted) back[0] = reshape(weight.packed().backward(rows_of(c)), before);
                  return back;
                });
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_pair(a, b);
  Shape shape = a.shape();
  shape[shape.rank() - 1] = b.dim(-1);
  count_flops(2 * shape.count() * a.dim(-1));
  Tensor out = Tensor::empty(shape, a.dtype());
  if (shape.count() > 0 && a.dim(-1) == 0) out = Tensor::zeros(shape, a.dtype());
  else if (shape.count() > 0) {
    const DType compute = cpu::product_dtype(a.dtype());
    const Tensor left = batch_of(to(a.detach(), compute)), right = batch_of(to(b.detach(), compute));
    Tensor product = Tensor::empty({left.shape()[0], left.shape()[1], b.dim(-1)}, compute);
    cpu::batched_product(left, right, product);
    out = to(product, a.dtype()).view(shape, row_major_strides(shape), 0);
  }
  return record(out, {a, b}, [a = a.detach(), b = b.detach()](const Tensor& c) {
    const bool shared = b.rank() < a.rank();  // one b for the whole batch: its cotangent sums over it
    const Tensor db = shared ? matmul(transpose(dense_rows(a)), dense_rows(c)) : matmul(transpose(a), c);
    return std::vector{matmul(c, transpose(b)), db};
  });
}

}  // namespace heddle
