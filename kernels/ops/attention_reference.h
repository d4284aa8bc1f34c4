// Attention in plain ops, with the whole map in memory: what the fused kernel must equal, and the tier for edits that
// need the map itself.
#pragma once

#include "kernels/ops/attention.h"

namespace heddle {

struct ReferenceResult {
  Tensor out;  // [B,Nq,H,Dv] in q's dtype
  Tensor lse;  // [B,H,Nq] f32
  Tensor map;  // [B,H,Nq,Nk] f32
};

// As attention(), computed in f32; all three results are on the tape of q, k and v. Needs B*H*Nq*Nk floats several
// times over.
ReferenceResult attention_reference(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);

}  // namespace heddle
