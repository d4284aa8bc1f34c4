// Denoiser: what samplers and pipelines see of a network, whatever its family.
#pragma once

#include <vector>

#include "attention_control/plan/attend.h"
#include "kernels/core/tensor.h"

namespace heddle {

// What the network is told beside the noisy sample; undefined where its family has no use for it. Float tensors in f32.
struct Conditioning {
  Tensor text = {};          // encoder_hidden_states [B,L,D]
  Tensor text_embeds = {};   // pooled text [B,P] (SDXL, SD3, FLUX)
  Tensor time_ids = {};      // sizes and crops [B,6] (SDXL), or with a score [B,5] (its refiner)
  Tensor class_labels = {};  // [B] i64 or f32 labels, or [B,D] embeddings
  Tensor guidance = {};      // of distilled models: its embedding timestep_cond [B,E] (LCM), or the scale [B] (FLUX)
  std::vector<int64_t> skip_blocks = {};  // left out of this evaluation: skip-layer guidance (SD3.5)
};

class Denoiser {
 public:
  virtual ~Denoiser() = default;
  // Every attention of the network, in the order of evaluation.
  virtual const std::vector<AttentionSite>& sites() const = 0;
  // The tokens of each site for latents of height x width and a text of so many states.
  virtual std::vector<SiteTokens> site_tokens(int64_t height, int64_t width, int64_t text) const = 0;
  // How many group norms it has, each of which follows norm_partners() (attention_control/plan/shared_norms.h).
  virtual int group_norms() const { return 0; }
  // sample [B,C,H,W] f32 (scaled as the sampler says), timesteps [B] f32 in 0..1000 -> the raw prediction [B,C',H,W]
  // f32. A network of patches takes sizes that are whole patches.
  // Differentiable in the sample. Lanes and moment travel in `context`.
  virtual Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Conditioning& conditioning,
                            AttentionContext& context) const = 0;
};

}  // namespace heddle
