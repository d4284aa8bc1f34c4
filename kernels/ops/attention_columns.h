// Single columns of the attention map, read back from the log-sum-exp: what a plan captures without holding the map.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops/attention.h"

namespace heddle {

struct Columns {
  std::vector<int64_t> keys;  // in 0..Nk-1, in the order asked for; repeats are allowed
  bool mean_over_heads = true;
};

// exp(scale * q.k_j + terms - lse) at the keys asked for -> [B,Nq,T] f32, or [B,H,Nq,T] per head. q [B,Nq,H,D] and
// k [B,Nk,H,D] as attention takes them, lse [B,H,Nq] f32 of the same options (or a merged one, of more keys). Rows
// whose lse is -inf give 0. Differentiable in q, k and lse, so through attention's lse it needs no map. Costs about
// T/Nk of the forward pass. Error(internal) for a key or shape that does not fit.
Tensor attention_columns(const Tensor& q, const Tensor& k, const Tensor& lse, const Columns& which,
                         const AttentionOptions& options);

}  // namespace heddle
