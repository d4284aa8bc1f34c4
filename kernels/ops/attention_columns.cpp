// Columns of the attention map: checks, the tape, dispatch.
#include "kernels/ops/attention_columns.h"

#include <string>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/attention.h"
#include "kernels/ops/attention_checks.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

void check(const AttentionExtents& n, const Tensor& lse, const Columns& which) {
  const Shape rows{n.batch, n.heads, n.queries};
  if (!lse.defined() || !(lse.shape() == rows) || lse.dtype() != DType::f32) {
    fail(ErrorCode::internal, "attention_columns", "lse " + rows.text() + " f32",
         lse.shape().text() + " " + std::string(name_of(lse.dtype())));
  }
  for (const int64_t key : which.keys) {
    if (key < 0 || key >= n.keys) {
      fail(ErrorCode::internal, "attention_columns", "keys in 0.." + std::to_string(n.keys - 1), std::to_string(key));
    }
  }
}

}  // namespace

Tensor attention_columns(const Tensor& q, const Tensor& k, const Tensor& given_lse, const Columns& which,
                         const AttentionOptions& options) {
  const AttentionExtents n = check_queries_and_keys("attention_columns", q, k);
  check(n, given_lse, which);
  const Tensor lse = contiguous(given_lse);
  const int64_t columns = static_cast<int64_t>(which.keys.size());
  const cpu::ColumnInputs of{{q.detach(), k.detach(), k.detach(), static_cast<float>(score_scale(options, q)),
                              options.causal, checked_terms("attention_columns", options, n)},
                             lse.detach(),
                             which.keys,
                             which.mean_over_heads};
  if (q.count() == 0 || columns == 0) {
    return Tensor::zeros(which.mean_over_heads ? Shape{n.batch, n.queries, columns}
                                               : Shape{n.batch, n.heads, n.queries, columns});
  }
  const int64_t flops = 2 * q.count() * columns;
  count_flops(flops);
  return record(cpu::attention_columns(of), {q, k, lse}, [of, flops](const Tensor& d_p) -> std::vector<Tensor> {
    count_flops(3 * flops);  // the scores again, dQ and dK
    const cpu::ColumnGradients back = cpu::attention_columns_backward(of, contiguous(to(d_p, DType::f32)));
    return {back.q, back.k, back.lse};
  });
}

}  // namespace heddle
