// Attention: checks, the tape, and the one dispatch line.
#include "kernels/ops/attention.h"

#include <cmath>
#include <limits>

#include "kernels/core/error.h"
#include "kernels/core/flops.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/attention.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

void check_dense_last_axis(const Tensor& x, const char* name) {
  if (x.dim(-1) > 1 && x.stride(-1) != 1) {
    fail(ErrorCode::internal, "attention", std::string(name) + " with a dense last axis",
         "stride " + std::to_string(x.stride(-1)), "contiguous()");
  }
}

void check(const Tensor& q, const Tensor& k, const Tensor& v) {
  if (q.rank() != 4 || k.rank() != 4 || v.rank() != 4) {
    fail(ErrorCode::internal, "attention", "q, k and v of rank 4 [B,N,H,D]",
         q.shape().text() + ", " + k.shape().text() + " and " + v.shape().text());
  }
  const Shape keys{q.dim(0), k.dim(1), q.dim(2), q.dim(3)};
  const Shape values{q.dim(0), k.dim(1), q.dim(2), v.dim(3)};
  if (!(k.shape() == keys) || !(v.shape() == values)) {
    fail(ErrorCode::internal, "attention",
         "k " + keys.text() + " and v " + values.text() + " for q " + q.shape().text(),
         k.shape().text() + " and " + v.shape().text());
  }
  if ((q.dtype() != DType::f32 && q.dtype() != DType::bf16) || k.dtype() != q.dtype() || v.dtype() != q.dtype()) {
    fail(ErrorCode::internal, "attention", "q, k and v all f32 or all bf16",
         std::string(name_of(q.dtype())) + ", " + std::string(name_of(k.dtype())) + ", " +
             std::string(name_of(v.dtype())));
  }
  check_dense_last_axis(q, "q");
  check_dense_last_axis(k, "k");
  check_dense_last_axis(v, "v");
}

// No query, or no key to look at: nothing flows back.
AttentionResult without_keys(const Tensor& q, const Tensor& v) {
  return {Tensor::zeros({q.dim(0), q.dim(1), q.dim(2), v.dim(3)}, q.dtype()),
          Tensor::full({q.dim(0), q.dim(2), q.dim(1)}, -std::numeric_limits<float>::infinity())};
}

}  // namespace

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  check(q, k, v);
  if (q.count() == 0 || k.count() == 0 || v.count() == 0) return without_keys(q, v);
  const int64_t flops = 2 * q.dim(0) * q.dim(1) * k.dim(1) * q.dim(2) * (q.dim(3) + v.dim(3));
  count_flops(flops);
  const double scale = options.scale != 0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(q.dim(3)));
  const cpu::AttentionInputs in{q.detach(), k.detach(), v.detach(), static_cast<float>(scale), options.causal};
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
