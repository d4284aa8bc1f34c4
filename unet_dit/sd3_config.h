// config.json of diffusers' SD3Transformer2DModel as typed fields. Keys keep their names.
#pragma once

#include <vector>

#include "io/json.h"

namespace heddle {

struct SD3Config {
  int64_t sample_size = 128;  // of the latents in training: computed positions are scaled to it
  int64_t patch_size = 2;
  int64_t in_channels = 16, out_channels = 16;
  int64_t num_layers = 18;
  int64_t heads = 18, head_dim = 64;
  int64_t joint_attention_dim = 4096;    // of the text states
  int64_t pooled_projection_dim = 2048;  // of the pooled text
  int64_t pos_embed_max_size = 96;       // side of the position table that is cropped; 0: positions for each size
  std::vector<bool> dual;                // blocks whose image stream attends to itself, too
  bool qk_norm = false;                  // RMS norm of q and k over each head

  int64_t width() const { return heads * head_dim; }
  // Error(input) naming the key for what is malformed or contradictory.
  static SD3Config from(const Json& json);
};

}  // namespace heddle
