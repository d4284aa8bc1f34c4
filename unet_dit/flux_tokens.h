// Latents as FLUX's tokens: 2x2 neighbours packed into one, and the coordinates of tokens.
#pragma once

#include "attention_control/plan/site.h"
#include "kernels/core/tensor.h"

namespace heddle {

// Latents as the network reads them: tokens and their coordinates, one column an axis of axes_dims_rope.
struct FluxTokens {
  Tensor image;      // [B,N,in_channels] f32
  Tensor image_ids;  // [N,axes] f32
  Tensor text_ids;   // [L,axes] f32
};

Tensor pack_latents(const Tensor& x);                                   // [B,C,H,W] -> [B,H/2*W/2,4C]
Tensor unpack_latents(const Tensor& x, int64_t height, int64_t width);  // [B,H/2*W/2,4C] -> [B,C,H,W]
// [rows*columns,axes] f32: zeros, but for the row and the column in the last two axes.
Tensor grid_ids(int64_t rows, int64_t columns, int64_t axes);
// The segment "image" of these coordinates [N,axes]: the grid whose tokens they are, row by row, or a line.
TokenSegment segment_of(const Tensor& ids);

}  // namespace heddle
