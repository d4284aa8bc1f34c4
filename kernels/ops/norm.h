// Normalisations, statistics in f32 (Wu & He 2018; Ba et al. 2016; Zhang & Sennrich 2019).
#pragma once

#include <span>

#include "kernels/core/tensor.h"
#include "kernels/ops/activation.h"

namespace heddle {

// x [N, ..., C] channels-last; each of `groups` groups of neighbouring channels is normalised over all positions of a
// row n with the biased variance, then gamma[c] * x + beta[c], then `then` (silu or none) in the same pass.
struct GroupNormOptions {
  int64_t groups = 32;
  double eps = 1e-5;
  Activation then = Activation::none;
};
// `pooled_with` names another row for each: a row's mean and variance are then those of both rows' positions together,
// as if they were one map (share_group_norm of StyleAligned's official code). A row that names itself, and all where it
// is empty, have their own. Error(internal) where it is neither empty nor N rows of x.
Tensor group_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const GroupNormOptions& options,
                  std::span<const int64_t> pooled_with = {});

// Over the last axis. gamma and beta [C] are f32, either may be undefined.
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps);
// x / sqrt(mean(x^2) + eps) * gamma over the last axis; gamma [C] may be undefined.
Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps);

// Layer norm whose weights come from a condition (adaLN; Peebles & Xie 2023): (1 + scale) * norm(x) + shift for
// x [B,...,C] and one shift and scale [B,C] a picture, in x's dtype.
struct Modulation {
  Tensor shift, scale;
};
Tensor modulated_norm(const Tensor& x, const Modulation& by, double eps);

}  // namespace heddle
