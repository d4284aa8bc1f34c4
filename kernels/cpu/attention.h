// The processor's attention kernels; kernels/ops/attention.h states what they compute.
#pragma once

#include "kernels/core/tensor.h"

namespace heddle::cpu {

// q [B,Nq,H,D], k [B,Nk,H,D], v [B,Nk,H,Dv]: any strides with a dense last axis, one dtype (f32 or bf16), no axis
// empty.
struct AttentionInputs {
  Tensor q, k, v;
  float scale = 1;
  bool causal = false;
};

// What the forward pass leaves for the backward one: out [B,Nq,H,Dv] in q's dtype, lse [B,H,Nq] f32; both dense.
struct AttentionOutputs {
  Tensor out, lse;
};

AttentionOutputs attention_forward(const AttentionInputs& in);

// True where the processor multiplies pairs of bf16 (avx512_bf16); elsewhere bf16 is widened first.
bool has_bf16_products();

struct AttentionGradients {
  Tensor q, k, v;  // dense, shaped as the inputs
};

// `cotangents`: dense, dtypes as the outputs; lse may be undefined (no gradient flowed into it).
AttentionGradients attention_backward(const AttentionInputs& in, const AttentionOutputs& saved,
                                      const AttentionOutputs& cotangents);

}  // namespace heddle::cpu
