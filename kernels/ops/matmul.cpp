// Products of activations: checks, shapes, gradients.
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/matmul.h"
#include "kernels/ops/linear.h"
#include "kernels/ops/rows.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

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
         a.shape().text() + " " + std::string(name_of(a.dtype())) + " and " + b.shape().text() + " " +
             std::string(name_of(b.dtype())));
  }
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_pair(a, b);
  Shape shape = a.shape();
  shape[shape.rank() - 1] = b.dim(-1);
  count_flops(2 * shape.count() * a.dim(-1));
  Tensor out = Tensor::empty(shape, a.dtype());
  if (shape.count() > 0 && a.dim(-1) == 0)
    out = Tensor::zeros(shape, a.dtype());
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
