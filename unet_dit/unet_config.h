// config.json of diffusers' UNet2DConditionModel as typed fields. Keys keep their names; lists have one entry per
// level.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "kernels/ops/activation.h"

namespace heddle {

struct UNetConfig {
  enum class Mid : uint8_t { none, cross_attention, resnets };
  enum class ClassEmbedding : uint8_t { none, table, timestep, identity, projection, simple_projection };

  int64_t in_channels = 4, out_channels = 4;
  bool center_input_sample = false;
  std::vector<bool> down_attends, up_attends;  // CrossAttn… blocks; the others have resnets only
  Mid mid = Mid::cross_attention;
  double mid_scale = 1;  // mid_block_scale_factor
  std::vector<int64_t> channels;
  std::vector<int64_t> layers;                              // resnets of a down block; its up block has one more
  std::vector<std::vector<int64_t>> transformer_layers;     // per level, per resnet of the down block
  std::vector<std::vector<int64_t>> up_transformer_layers;  // per up block, per resnet
  std::vector<int64_t> heads;  // "attention_head_dim": the number of heads, as published configs use it
  std::vector<int64_t> cross_dim;
  std::vector<bool> only_cross;
  bool upcast_attention = false;
  int64_t downsample_padding = 1;
  int64_t conv_in_kernel = 3, conv_out_kernel = 3;
  int64_t groups = 32;
  double eps = 1e-5;
  Activation act = Activation::silu;
  bool scale_shift = false;  // resnet_time_scale_shift: the time embedding scales and shifts the second norm

  bool cosine_first = true;  // flip_sin_to_cos
  double freq_shift = 0;
  int64_t time_dim = 0;  // of the embedding that the blocks receive before class_embeddings_concat
  Activation time_act = Activation::none, time_post_act = Activation::none;
  int64_t time_cond_dim = 0;    // time_cond_proj_dim: width of the embedded guidance; 0 without
  int64_t encoder_hid_dim = 0;  // width of text states before encoder_hid_proj; 0 without
  ClassEmbedding class_embedding = ClassEmbedding::none;
  int64_t class_count = 0;  // rows of the table
  bool class_concat = false;
  bool text_time = false;            // SDXL: pooled text and sizes beside the time
  int64_t addition_time_dim = 0;     // of each embedded size
  int64_t projection_input_dim = 0;  // of class or addition embedding

  // Error(input) naming the key for what is malformed, contradictory or not one of the Stable Diffusion kin.
  static UNetConfig from(const Json& json);
  size_t levels() const { return channels.size(); }
  int64_t block_time_dim() const { return class_concat ? 2 * time_dim : time_dim; }
};

}  // namespace heddle
