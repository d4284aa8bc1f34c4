// The blocks of diffusers' UNet: residual block with time, spatial transformer, and their stacks on the way down and
// up. Feature maps are [B,H,W,C], tokens [B,H*W,C].
#pragma once

#include <optional>
#include <vector>

#include "attention_control/plan/attend.h"
#include "kernels/layers/layers.h"

namespace heddle {

// Collects the sites of a network while it is being built.
class SiteList {
 public:
  AttentionSite add(AttentionSite site);  // as it stands in the list: with its depth
  const std::vector<AttentionSite>& all() const { return sites_; }

 private:
  std::vector<AttentionSite> sites_;
};

// What all blocks of one evaluation share.
struct BlockInput {
  Tensor time;  // [B,T]: the activated time embedding
  Tensor text;  // [B,L,D]
  AttentionContext* context = nullptr;
  std::vector<int64_t> norm_partners;  // of group norms: empty, or a row for each of B
};

struct ResnetOptions {
  int64_t in = 0, out = 0, time_dim = 0, groups = 32;
  double eps = 1e-5;
  double output_scale = 1;  // the sum is divided by it
  Activation act = Activation::silu;
  bool scale_shift = false;
};

// x + conv(act(norm(conv(act(norm(x))) + time)))  (He et al. 2016 with time, as ResnetBlock2D)
class ResnetBlock {
 public:
  ResnetBlock(const Scope& scope, const ResnetOptions& options);
  Tensor operator()(const Tensor& x, const BlockInput& input) const;

 private:
  ResnetOptions options_;
  GroupNorm norm1_, norm2_;
  Conv2d conv1_, conv2_, shortcut_;
  Linear time_;
};

struct TransformerOptions {
  int64_t channels = 0, heads = 1, cross_dim = 0, layers = 1, groups = 32;
  bool only_cross = false;  // the first attention, too, looks at the text
  bool upcast_attention = false;
  std::string site;  // prefix of the site names: "down.1.block0"
  int64_t head_dim() const { return channels / heads; }
  int64_t inner() const { return head_dim() * heads; }
};

// One attention of a transformer block: projections, attend, output projection added to x.
class AttentionLayer {
 public:
  struct Options {
    int64_t channels = 0, key_dim = 0;  // key_dim 0: self-attention
    bool upcast = false;
  };
  AttentionLayer(const Scope& scope, AttentionSite site, const Options& options);
  // x [B,N,C] normalised tokens, `keys` [B,L,D] or undefined for self-attention; returns residual + projection.
  Tensor operator()(const Tensor& x, const Tensor& keys, const SiteTokens& tokens, const Tensor& residual,
                    AttentionContext& context) const;

 private:
  Tensor compute(const Tensor& x, const Tensor& keys, const SiteTokens& tokens, const Tensor& residual,
                 AttentionContext& context) const;

  AttentionSite site_;
  bool self_, upcast_;
  Linear qkv_, q_, kv_, out_;
};

// Normalise, project, `layers` transformer blocks (attend to itself, to the text, feed forward), project, add. The
// projections are matrices or 1x1 convolutions in the file (use_linear_projection); on channels-last maps both are the
// same product.
class SpatialTransformer {
 public:
  SpatialTransformer(const Scope& scope, const TransformerOptions& options, SiteList& sites);
  Tensor operator()(const Tensor& x, const BlockInput& input) const;
  // The tokens of each site, in the order of evaluation, on a map of this size with so many text tokens.
  void list_tokens(int64_t height, int64_t width, int64_t text, std::vector<SiteTokens>& out) const;

 private:
  struct Tokens {
    SiteTokens self, cross;
  };
  Tokens tokens(int64_t height, int64_t width, int64_t text) const;
  struct Block {
    Block(const Scope& scope, const TransformerOptions& options, const std::string& site, SiteList& sites);
    Tensor operator()(const Tensor& tokens, const BlockInput& input, const SiteTokens& self,
                      const SiteTokens& cross) const;
    LayerNorm norm1, norm2, norm3;
    AttentionLayer attn1, attn2;
    Linear up, down;
    bool only_cross;
  };
  GroupNorm norm_;
  Linear in_, out_;
  std::vector<Block> blocks_;
};

// resnet, transformer, resnet, transformer ... then perhaps a change of resolution.
struct Stage {
  std::vector<ResnetBlock> resnets;
  std::vector<SpatialTransformer> transformers;  // empty, or one per resnet (mid: one fewer)
  std::optional<Conv2d> resample;                // downsampler or upsampler
};

}  // namespace heddle
