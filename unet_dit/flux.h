// FluxTransformer2DModel: the denoiser of FLUX.1 dev and schnell (Black Forest Labs 2024). Double blocks with weights
// for each stream, then single blocks over both streams as one.
#pragma once

#include "unet_dit/adaln.h"
#include "unet_dit/blocks.h"
#include "unet_dit/denoiser.h"
#include "unet_dit/flux_config.h"
#include "unet_dit/flux_tokens.h"
#include "unet_dit/joint_attention.h"

namespace heddle {

class FluxTransformer final : public Denoiser {
 public:
  // Takes every tensor it needs from `scope`; the caller asks the source for surplus ones.
  FluxTransformer(const FluxConfig& config, const Scope& scope);

  const FluxConfig& config() const { return config_; }
  const std::vector<AttentionSite>& sites() const override { return sites_.all(); }
  std::vector<SiteTokens> site_tokens(int64_t height, int64_t width, int64_t text) const override;
  // Latents [B,C,H,W] of even sizes, C a quarter of in_channels: packed, 2x2 in a token, and unpacked again.
  Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                    AttentionContext& context) const override;
  // The original's forward: times [B] in 0..1 -> [B,N,predicted_channels] f32. Coordinates of a whole grid, row by row
  // in the last two axes, make the image segment that grid; others make it a line.
  Tensor predict(const FluxTokens& tokens, const Tensor& times, const Conditioning& conditioning,
                 AttentionContext& context) const;

  // Gradients then keep one block's activations at a time and compute the others twice.
  void set_checkpointing(bool on) { checkpointing_ = on; }

 private:
  // What all blocks of one evaluation share.
  struct BlockInput {
    Tensor condition;  // [B,C]
    SiteTokens tokens;
    Rotary rotary;
    AttentionContext* context = nullptr;
  };
  // One stream's weights around the joint attention.
  struct Stream {
    Stream(const Scope& scope, const std::string& suffix, const Scope& out, int64_t width);
    Linear modulate, out;
    FeedForward ff;
  };
  struct DoubleBlock {
    DoubleBlock(const Scope& scope, const FluxConfig& config, const AttentionSite& site);
    Streams operator()(const Streams& x, const BlockInput& input) const;  // without text where a plan holds it
    Stream image, text;
    JointAttention joint;
  };
  struct SingleBlock {
    SingleBlock(const Scope& scope, const FluxConfig& config, const AttentionSite& site);
    Tensor operator()(const Tensor& x, const BlockInput& input) const;
    Linear modulate, up;
    std::vector<Linear> out;  // of what was attended to, of the feed-forward half
    JointAttention joint;
  };

  void check_input(const FluxTokens& tokens, const Tensor& times, const Conditioning& conditioning) const;
  Rotary positions(const Tensor& text_ids, const Tensor& image_ids) const;
  Streams run(const DoubleBlock& block, const Streams& x, const BlockInput& input) const;
  Tensor run(const SingleBlock& block, const Tensor& x, const BlockInput& input) const;

  FluxConfig config_;
  DType dtype_;
  bool checkpointing_ = false;
  SiteList sites_;
  ConditionEmbedding condition_;
  Linear image_in_, text_in_, out_;
  std::vector<DoubleBlock> doubles_;
  std::vector<SingleBlock> singles_;
  FinalNorm norm_out_;
};

}  // namespace heddle
