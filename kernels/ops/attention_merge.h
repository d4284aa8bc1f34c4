// Attention over one set of keys from attention over its parts, exactly.
#pragma once

#include <span>

#include "kernels/ops/attention.h"

namespace heddle {

// Results for the same queries over disjoint keys -> the result over all of them: lse = log(sum exp(lse_p)),
// out = sum exp(lse_p - lse) out_p, in f32 and rounded once. A part without keys for a row (lse -inf) weighs nothing; a
// row that no part has keys for gives 0 and -inf. Differentiable in every out and lse. Error(internal) for no part or
// parts that differ in shape or dtype.
AttentionResult merge_attention(std::span<const AttentionResult> parts);

}  // namespace heddle
