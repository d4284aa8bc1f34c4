// The processor's normalisations; kernels/ops/norm.h states what they compute.
#pragma once

#include <vector>

#include "kernels/core/tensor.h"
#include "kernels/ops/norm.h"

namespace heddle::cpu {

// x [N,L,C] dense, f32 or bf16, no axis empty; gamma and beta [C] f32 or undefined. `options.then`: silu or none.
struct GroupNormCall {
  Tensor x, gamma, beta;
  GroupNormOptions options;
  std::vector<int64_t> pooled_with;  // empty, or a row for each
};

// y in x's dtype; stats [N,groups,2] f32: mean and 1 / standard deviation.
struct Normalised {
  Tensor y, stats;
};

Normalised group_norm_forward(const GroupNormCall& call);
Tensor group_norm_backward(const GroupNormCall& call, const Tensor& stats, const Tensor& d_y);  // -> dx

// x [L,R,C] whose last axis is dense; its rows are those of all L, in order. gamma and beta hold [G,C] f32, each
// serving rows/G neighbouring rows, or are undefined. `centred`: layer norm; otherwise RMS norm (mean 0 in the
// statistics [rows,2]).
struct RowNormCall {
  Tensor x, gamma, beta;
  double eps = 0;
  bool centred = true;
};

// y, d_y and dx are dense.
Normalised row_norm_forward(const RowNormCall& call);
Tensor row_norm_backward(const RowNormCall& call, const Tensor& stats, const Tensor& d_y);

}  // namespace heddle::cpu
