// The blocks of the autoencoder: residual block, attention over all positions, and their stacks. Feature maps
// [B,H,W,C].
#pragma once

#include <string>
#include <vector>

#include "attention_control/plan/attend.h"
#include "kernels/layers/layers.h"
#include "kernels/ops/activation.h"

namespace heddle {

struct VaeBlockOptions {
  int64_t in = 0, out = 0, layers = 1, groups = 32;
  Activation act = Activation::silu;
  enum class Resample : uint8_t { none, halve, twice } resample = Resample::none;
  enum class Attention : uint8_t { none, after_each, between } attention = Attention::none;
  std::string site;  // prefix of the site names: "encoder.mid"
};

// x + conv(act(norm(conv(act(norm(x))))))
class VaeResnet {
 public:
  VaeResnet(const Scope& scope, int64_t in, const VaeBlockOptions& options);
  Tensor operator()(const Tensor& x) const;

 private:
  GroupNorm norm1_, norm2_;
  Conv2d conv1_, conv2_, shortcut_;
};

// x + projection of one-headed attention over all positions of the normalised map. Older files name the projections
// query, key, value and proj_attn, and may store them as 1x1 convolutions.
class VaeAttention {
 public:
  VaeAttention(const Scope& scope, const VaeBlockOptions& options, AttentionSite site);
  Tensor operator()(const Tensor& x, AttentionContext& context) const;

 private:
  AttentionSite site_;
  GroupNorm norm_;
  Linear q_, k_, v_, out_;
};

// Residual blocks, with attention after each or between two, then perhaps a change of resolution: halved by a strided
// convolution padded at the far side only, or doubled by repetition and a convolution.
class VaeBlock {
 public:
  VaeBlock(const Scope& scope, const VaeBlockOptions& options, std::vector<AttentionSite>& sites);
  Tensor operator()(const Tensor& x, AttentionContext& context) const;

 private:
  VaeBlockOptions::Resample resample_;
  std::vector<VaeResnet> resnets_;
  std::vector<VaeAttention> attentions_;  // after resnet i stands attention i, while there are any
  Conv2d conv_;
};

}  // namespace heddle
