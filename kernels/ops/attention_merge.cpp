// Merging partial attention: checks, the tape, dispatch.
#include "kernels/ops/attention_merge.h"

#include <string>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/cpu/attention.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

void check(std::span<const AttentionResult> parts) {
  if (parts.empty()) fail(ErrorCode::internal, "merge_attention", "at least one part", "none");
  const Tensor& first = parts[0].out;
  if (!first.defined() || first.rank() != 4 || (first.dtype() != DType::f32 && first.dtype() != DType::bf16)) {
    fail(ErrorCode::internal, "merge_attention", "out [B,Nq,H,Dv] f32 or bf16",
         first.shape().text() + " " + std::string(name_of(first.dtype())));
  }
  const Shape rows{first.dim(0), first.dim(2), first.dim(1)};
  for (const AttentionResult& part : parts) {
    const bool fits = part.out.defined() && part.lse.defined() && part.out.shape() == first.shape() &&
                      part.out.dtype() == first.dtype() && part.lse.shape() == rows && part.lse.dtype() == DType::f32;
    if (!fits) {
      fail(ErrorCode::internal, "merge_attention",
           "out " + first.shape().text() + " " + std::string(name_of(first.dtype())) + " and lse " + rows.text() +
               " f32 in every part",
           part.out.shape().text() + " " + std::string(name_of(part.out.dtype())) + " and " + part.lse.shape().text());
    }
  }
}

}  // namespace

AttentionResult merge_attention(std::span<const AttentionResult> given) {
  check(given);
  if (given.size() == 1 || given[0].out.count() == 0) return given[0];
  std::vector<Tensor> inputs;
  std::vector<cpu::AttentionOutputs> parts;
  for (const AttentionResult& part : given) {
    inputs.push_back(contiguous(part.out));
    inputs.push_back(contiguous(part.lse));
    parts.push_back({inputs[inputs.size() - 2].detach(), inputs.back().detach()});
  }
  const cpu::AttentionOutputs made = cpu::merge_attention(parts);
  const auto vjp = [parts, made](std::span<const Tensor> cotangents) -> std::vector<Tensor> {
    const Tensor d_out = cotangents[0].defined() ? contiguous(to(cotangents[0], made.out.dtype()))
                                                 : Tensor::zeros(made.out.shape(), made.out.dtype());
    const Tensor d_lse = cotangents[1].defined() ? contiguous(to(cotangents[1], DType::f32)) : Tensor();
    std::vector<Tensor> back;
    for (const cpu::AttentionOutputs& part : cpu::merge_attention_backward(parts, made, {d_out, d_lse})) {
      back.push_back(part.out);
      back.push_back(part.lse);
    }
    return back;
  };
  const std::vector<Tensor> outputs = record({made.out, made.lse}, inputs, vjp);
  return {outputs[0], outputs[1]};
}

}  // namespace heddle
