// config.json of diffusers' FluxTransformer2DModel as typed fields. Keys keep their names.
#pragma once

#include <vector>

#include "io/json.h"

namespace heddle {

struct FluxConfig {
  int64_t patch_size = 1;
  int64_t in_channels = 64, out_channels = 64;  // of packed latents: 2x2 neighbours stand in one token
  int64_t num_layers = 19, num_single_layers = 38;
  int64_t heads = 24, head_dim = 128;
  int64_t joint_attention_dim = 4096;               // of the text states
  int64_t pooled_projection_dim = 768;              // of the pooled text
  bool guidance_embeds = false;                     // "dev": the guidance scale is an input
  std::vector<int64_t> axes_dims_rope{16, 56, 56};  // features of a head that turn with each coordinate

  int64_t width() const { return heads * head_dim; }
  int64_t predicted_channels() const { return patch_size * patch_size * out_channels; }
  // Error(input) naming the key for what is malformed or contradictory.
  static FluxConfig from(const Json& json);
};

}  // namespace heddle
