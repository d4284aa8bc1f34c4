// UNet2DConditionModel: the denoiser of Stable Diffusion 1, 2 and XL and their kin (Rombach et al. 2022; Podell et al.
// 2023).
#pragma once

#include <memory>
#include <string>

#include "unet_dit/blocks.h"
#include "unet_dit/denoiser.h"
#include "unet_dit/embedding_mlp.h"
#include "unet_dit/unet_config.h"

namespace heddle {

class UNet final : public Denoiser {
 public:
  // Takes every tensor it needs from `scope`; the caller asks the source for surplus ones.
  UNet(const UNetConfig& config, const Scope& scope);

  const UNetConfig& config() const { return config_; }
  const std::vector<AttentionSite>& sites() const override { return sites_.all(); }
  std::vector<SiteTokens> site_tokens(int64_t height, int64_t width, int64_t text) const override;
  int group_norms() const override;
  Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                    AttentionContext& context) const override;

  // Gradients then keep one block's activations at a time and compute the others twice.
  void set_checkpointing(bool on) { checkpointing_ = on; }

 private:
  void build_embeddings(const Scope& scope);
  void build_down(const Scope& scope);
  void build_mid(const Scope& scope);
  void build_up(const Scope& scope);
  ResnetOptions resnet_options(int64_t in, int64_t out, double output_scale = 1) const;
  TransformerOptions transformer_options(size_t level, int64_t layers, const std::string& site) const;

  void check_input(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning) const;
  Tensor embed_time(const Tensor& timesteps, const Conditioning& conditioning) const;  // [B,T], activated
  Tensor embed_class(const Tensor& labels) const;
  Tensor run(const ResnetBlock& resnet, const SpatialTransformer* transformer, const Tensor& x,
             const BlockInput& input) const;

  UNetConfig config_;
  DType dtype_;
  bool checkpointing_ = false;
  SiteList sites_;
  Conv2d conv_in_, conv_out_;
  GroupNorm norm_out_;
  EmbeddingMlp time_embedding_, add_embedding_, class_mlp_;
  Linear time_cond_, class_linear_, encoder_hid_;
  Tensor class_table_;
  std::vector<Stage> down_, up_;
  Stage mid_;
};

}  // namespace heddle
