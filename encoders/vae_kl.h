// The autoencoder of latent diffusion (Rombach et al. 2022, appendix G; Esser et al. 2021), as AutoencoderKL of
// diffusers has it: pictures to a normal distribution over latents, latents to pictures.
#pragma once

#include <vector>

#include "encoders/vae_blocks.h"
#include "io/json.h"

namespace heddle {

struct VaeConfig {
  int64_t in_channels = 3, out_channels = 3, latent_channels = 4;
  std::vector<int64_t> channels = {64};        // block_out_channels, finest first
  std::vector<bool> down_attends, up_attends;  // per block: AttnDownEncoderBlock2D, AttnUpDecoderBlock2D
  int64_t layers = 1, groups = 32, sample_size = 32;
  Activation act = Activation::silu;
  bool quant = true, post_quant = true, mid_attention = true;
  double scaling_factor = 0.18215, shift_factor = 0;
  std::vector<double> latents_mean, latents_std;  // empty, or one per latent channel

  // config.json of the component. Error(input) naming a key that is unknown or out of range. `force_upcast` is read and
  // has nothing to do: it asks for f32 in place of f16, which heddle never computes in.
  static VaeConfig from(const Json& json);

  int64_t factor() const { return int64_t{1} << (channels.size() - 1); }  // pixels per latent along an edge
};

struct LatentNormal {
  Tensor mean, logvar;  // [B,C,h,w]; logvar within -30..20
};

class VaeKl {
 public:
  VaeKl(const VaeConfig& config, const Scope& scope);

  const std::vector<AttentionSite>& sites() const { return sites_; }
  const VaeConfig& config() const { return config_; }

  // Tiles of `sample_size` pixels (diffusers: the config's), overlapping by a quarter and blended, for what is larger;
  // 0, as at first, works on the whole. The result is that of diffusers with tiling: near the whole one, in bounded
  // memory.
  void set_tiling(int64_t sample_size);
  // The gradient runs blocks again instead of keeping their insides.
  void set_checkpointing(bool on) { checkpointing_ = on; }

  // picture [B,in,H,W] in -1..1 -> [B,latent,H/f,W/f], f32 and differentiable. Error(usage) for another shape.
  LatentNormal encode(const Tensor& picture, AttentionContext& context) const;
  // latent [B,latent,h,w], unscaled -> [B,out,f*h,f*w] in about -1..1, f32 and differentiable.
  Tensor decode(const Tensor& latent, AttentionContext& context) const;

  // Between the autoencoder's latents and the denoiser's, by scaling_factor, shift_factor, latents_mean and
  // latents_std.
  Tensor to_denoiser(const Tensor& latent) const;
  Tensor from_denoiser(const Tensor& latent) const;

 private:
  Tensor encode_whole(const Tensor& x, AttentionContext& context) const;  // [B,H,W,in] -> moments [B,h,w,2*latent]
  Tensor decode_whole(const Tensor& z, AttentionContext& context) const;  // [B,h,w,latent] -> [B,H,W,out]
  Tensor per_channel(const std::vector<double>& values) const;            // [1,C,1,1]

  VaeConfig config_;
  DType dtype_;
  int64_t tile_ = 0;
  bool checkpointing_ = false;
  std::vector<AttentionSite> sites_;
  Conv2d encoder_in_, encoder_out_, decoder_in_, decoder_out_;
  std::vector<VaeBlock> encoder_, decoder_;  // with their mid blocks: last of the encoder, first of the decoder
  GroupNorm encoder_norm_, decoder_norm_;
  Linear quant_, post_quant_;
};

}  // namespace heddle
