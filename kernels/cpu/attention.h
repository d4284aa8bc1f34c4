// The processor's attention kernels; kernels/ops/attention.h states what they compute.
#pragma once

#include <span>
#include <vector>

#include "kernels/core/score_term.h"

namespace heddle::cpu {

// q [B,Nq,H,D], k [B,Nk,H,D], v [B,Nk,H,Dv]: any strides with a dense last axis, one dtype (f32 or bf16), no axis
// empty.
struct AttentionInputs {
  Tensor q, k, v;
  float scale = 1;
  bool causal = false;
  std::vector<ScoreTerm> terms;  // checked; key_class dense
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

// P[j][i] = exp(scale * q_i.k_j + terms - lse_i) at the keys asked for. `in.v` is not read, but stands for k's sizes.
struct ColumnInputs {
  AttentionInputs in;
  Tensor lse;  // [B,H,Nq] f32, dense
  std::vector<int64_t> keys;
  bool mean_over_heads = true;
};
Tensor attention_columns(const ColumnInputs& of);  // [B,Nq,T] where averaged, else [B,H,Nq,T]; f32

struct ColumnGradients {
  Tensor q, k, lse;  // dense, shaped as the inputs
};
ColumnGradients attention_columns_backward(const ColumnInputs& of, const Tensor& cotangent);  // dense

// out = sum of w_p out_p and lse = log(sum of exp(lse_p)), w_p = exp(lse_p - lse). All tensors dense.
AttentionOutputs merge_attention(std::span<const AttentionOutputs> parts);
// Cotangents of the parts; of `cotangents`, lse may be undefined.
std::vector<AttentionOutputs> merge_attention_backward(std::span<const AttentionOutputs> parts,
                                                       const AttentionOutputs& made,
                                                       const AttentionOutputs& cotangents);

}  // namespace heddle::cpu
