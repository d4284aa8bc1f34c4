// Attention: checks, the tape, and the one dispatch line.
#include "kernels/ops/attention.h"

#include <limits>
#include <string>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/attention.h"
#include "kernels/ops/attention_checks.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

AttentionExtents check(const Tensor& q, const Tensor& k, const Tensor& v) {
  const AttentionExtents n = check_queries_and_keys("attention", q, k);
  const Shape values{n.batch, n.keys, n.heads, v.defined() && v.rank() == 4 ? v.dim(3) : 0};
  if (!v.defined() || !(v.shape() == values) || v.dtype() != q.dtype()) {
    fail(ErrorCode::internal, "attention",
         "v [" + std::to_string(n.batch) + ", " + std::to_string(n.keys) + ", " + std::to_string(n.heads) + ", Dv] " +
             std::string(name_of(q.dtype())),
         v.shape().text() + " " + std::string(name_of(v.dtype())));
  }
  check_dense_last_axis("attention", v, "v");
  return n;
}

// No query, or no key to look at: nothing flows back.
AttentionResult without_keys(const Tensor& q, const Tensor& v) {
  return {Tensor::zeros({q.dim(0), q.dim(1), q.dim(2), v.dim(3)}, q.dtype()),
          Tensor::full({q.dim(0), q.dim(2), q.dim(1)}, -std::numeric_limits<float>::infinity())};
}

}  // namespace

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const AttentionExtents n = check(q, k, v);
  const std::vector<ScoreTerm> terms = checked_terms("attention", options, n);
  if (q.count() == 0 || k.count() == 0 || v.count() == 0) return without_keys(q, v);
  const int64_t flops = 2 * q.dim(0) * q.dim(1) * k.dim(1) * q.dim(2) * (q.dim(3) + v.dim(3));
  count_flops(flops);
  const cpu::AttentionInputs in{q.detach(),     k.detach(), v.detach(), static_cast<float>(score_scale(options, q)),
                                options.causal, terms};
  const cpu::AttentionOutputs made = cpu::attention_forward(in);
  if (!any_tracked({q, k, v})) return {made.out, made.lse};

  const auto vjp = [in, made, flops](std::span<const Tensor> cotangents) -> std::vector<Tensor> {
    const Tensor d_out = cotangents[0].defined() ? contiguous(to(cotangents[0], made.out.dtype()))
                                                 : Tensor::zeros(made.out.shape(), made.out.dtype());
    const Tensor d_lse = cotangents[1].defined() ? contiguous(to(cotangents[1], DType::f32)) : Tensor();
    // S and dP again, then dQ, dK, dV: five products to the forward's two.
    count_flops(flops / 2 * 5);
    const cpu::AttentionGradients back = cpu::attention_backward(in, made, {d_out, d_lse});
    return {back.q, back.k, back.v};
  };
  const Tensor inputs[] = {q, k, v};
  const std::vector<Tensor> outputs = record({made.out, made.lse}, inputs, vjp);
  return {outputs[0], outputs[1]};
}

}  // namespace heddle
