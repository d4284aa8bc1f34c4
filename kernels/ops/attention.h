// Scaled dot-product attention that never stores the N x N scores, forward or backward (Dao 2023, FlashAttention-2),
// and returns the log-sum-exp of each row, so that partial results merge exactly and single columns can be read later.
// Only attention_control/plan/attend calls it.
#pragma once

#include <vector>

#include "kernels/core/score_term.h"

namespace heddle {

struct AttentionOptions {
  double scale = 0;              // of q.k; 0 stands for 1/sqrt(D)
  bool causal = false;           // query i sees keys j <= i + Nk - Nq
  std::vector<ScoreTerm> terms;  // added to scale * q.k; at most 8
};

struct AttentionResult {
  Tensor out;  // [B,Nq,H,Dv] in q's dtype
  Tensor lse;  // [B,H,Nq] f32: log of the sum of exp(scores); -inf and out 0 for a row without keys
};

// q [B,Nq,H,D], k [B,Nk,H,D], v [B,Nk,H,Dv]: views into joined projections are welcome, only the last axis must be
// dense. Differentiable through out and lse: dS = P * (dP - rowsum(dO * O) + dLSE). Keys that the terms hide from 64
// neighbouring queries, 48 or more at a time, cost nothing. Error(internal) for shapes, dtypes or classes that do not
// fit.
AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);

}  // namespace heddle
