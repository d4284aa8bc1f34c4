// linear, act, linear: how embeddings of times, sizes and pooled texts enter a denoiser (diffusers' TimestepEmbedding
// and PixArtAlphaTextProjection).
#pragma once

#include "kernels/layers/layers.h"
#include "kernels/ops/activation.h"

namespace heddle {

class EmbeddingMlp {
 public:
  EmbeddingMlp() = default;
  EmbeddingMlp(const Scope& scope, int64_t in, int64_t out, Activation act)
      : first_(scope / "linear_1", in, out), second_(scope / "linear_2", out, out), act_(act) {}
  Tensor operator()(const Tensor& x) const { return second_(activate(first_(x), act_)); }

 private:
  Linear first_, second_;
  Activation act_ = Activation::silu;
};

}  // namespace heddle
