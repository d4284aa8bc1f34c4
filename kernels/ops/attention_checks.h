// What attention, its columns and its reference ask of their arguments alike.
#pragma once

#include <string_view>

#include "kernels/ops/attention.h"

namespace heddle {

struct AttentionExtents {
  int64_t batch, heads, queries, keys;
};

// q and k of rank 4 that fit, both f32 or both bf16, each with a dense last axis.
AttentionExtents check_queries_and_keys(std::string_view where, const Tensor& q, const Tensor& k);

// options.scale, or 1/sqrt(D).
double score_scale(const AttentionOptions& options, const Tensor& q);

// options.terms, detached, classes dense and within their rows.
std::vector<ScoreTerm> checked_terms(std::string_view where, const AttentionOptions& options,
                                     const AttentionExtents& n);

void check_dense_last_axis(std::string_view where, const Tensor& x, const char* name);

}  // namespace heddle
