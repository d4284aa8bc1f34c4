// The layouts in which authors publish the parts of a model: names of layers as tables, and the configuration that the
// shapes of the tensors imply, as diffusers' config.json would state it. What no shape shows (heads, groups of norms,
// factors of latents) is what the published models have; a config.json may be laid over it (checkpoint_file.h).
// Sources: CompVis' and Stability's latent diffusion, OpenCLIP, sd3.5, Black Forest Labs' flux, llama.cpp's gguf-py;
// diffusers' single_file_utils states the same renaming.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "io/checkpoint/layer_names.h"
#include "io/checkpoint/tensor_shapes.h"

namespace heddle {

// Which of the CLIP encoders a file's is: they differ in what their shapes do not show.
struct ClipRole {
  bool projection = false;  // CLIPTextModelWithProjection: the pooled state is projected
  bool quick_gelu = true;   // OpenAI's; OpenCLIP's have the exact GELU
  bool drop_last = false;   // SD2 reads the states before the last layer, so that one is left out
};

// What each family's autoencoder has of its own; no shape tells it.
struct VaeRole {
  double scaling = 0.18215, shift = 0;
  int64_t sample_size = 512;  // pixels
};

// "input_blocks.4.1.proj_in" ...
LayerNames unet_names(const TensorShapes& theirs);
nlohmann::json unet_config(const TensorShapes& theirs, int64_t pooled_width);
// Of SDXL's two networks the refiner: it reads the second encoder alone, so its text is as wide as its pooled text.
bool is_refiner(const TensorShapes& theirs, int64_t pooled_width);

// "encoder.down.0.block.1.conv1" ...
LayerNames vae_names(const TensorShapes& theirs);
nlohmann::json vae_config(const TensorShapes& theirs, const VaeRole& role);

// transformers' own names, with or without "text_model.", and OpenCLIP's with joined q, k and v.
LayerNames clip_names(const ClipRole& role);
LayerNames open_clip_names(const TensorShapes& theirs, const ClipRole& role);
int64_t clip_width(const TensorShapes& ours);  // of renamed tensors
nlohmann::json clip_config(const TensorShapes& ours, const ClipRole& role);

// transformers' own names, and llama.cpp's: "enc.blk.3.attn_q" ...
LayerNames t5_names(const TensorShapes& theirs);
nlohmann::json t5_config(const TensorShapes& ours);  // of renamed tensors

// "joint_blocks.3.x_block.attn.qkv" ...; `blocks` many: the last one's text ends.
LayerNames sd3_names(int64_t blocks);
nlohmann::json sd3_config(const TensorShapes& ours);  // of renamed tensors

// "double_blocks.0.img_attn.qkv" ...
const LayerNames& flux_names();
nlohmann::json flux_config(const TensorShapes& ours);  // of renamed tensors

}  // namespace heddle
