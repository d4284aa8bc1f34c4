// What a condition does in the joint text-image transformers (adaLN; Peebles & Xie 2023): it scales, shifts and gates.
// Tokens are [B,N,C].
#pragma once

#include <vector>

#include "kernels/layers/layers.h"
#include "unet_dit/embedding_mlp.h"

namespace heddle {

constexpr double mmdit_eps = 1e-6;  // of every norm of these networks

// Time, pooled text and, in distilled networks, guidance as one vector (diffusers' CombinedTimestep...Embeddings).
class ConditionEmbedding {
 public:
  ConditionEmbedding() = default;
  struct Options {
    int64_t pooled_dim = 0, width = 0;
    bool guidance = false;
  };
  ConditionEmbedding(const Scope& scope, const Options& options);
  // times and guidance [B] f32 in 0..1000 (guidance undefined: none), pooled [B,P] f32 -> [B,C], after silu, as every
  // modulation wants it. It does not depend on the sample and is on no tape.
  Tensor operator()(const Tensor& times, const Tensor& guidance, const Tensor& pooled) const;

 private:
  DType dtype_ = DType::f32;
  EmbeddingMlp time_, guidance_, text_;
  bool guided_ = false;
};

// adaLN: vectors [B,C] that a condition gives for one block.
std::vector<Tensor> modulation_parts(const Linear& from, const Tensor& condition, int64_t parts);

// (1 + scale) norm(x) + shift with its own projection of the condition, scale first (AdaLayerNormContinuous).
class FinalNorm {
 public:
  FinalNorm() = default;
  FinalNorm(const Scope& scope, int64_t channels) : linear_(scope / "linear", channels, 2 * channels) {}
  Tensor operator()(const Tensor& x, const Tensor& condition) const;

 private:
  Linear linear_;
};

// linear, gelu (tanh form), linear; four times as wide inside.
class FeedForward {
 public:
  FeedForward() = default;
  FeedForward(const Scope& scope, int64_t channels)
      : up_(scope / "net" / 0 / "proj", channels, 4 * channels), down_(scope / "net" / 2, 4 * channels, channels) {}
  // residual + gate * ff(x)
  Tensor operator()(const Tensor& x, const Tensor& gate, const Tensor& residual) const {
    return down_.gated(up_.activated(x, Activation::gelu_tanh), gate, residual);
  }

 private:
  Linear up_, down_;
};

}  // namespace heddle
