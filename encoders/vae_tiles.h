// A large map worked on in overlapping tiles whose results are blended, as diffusers' AutoencoderKL does.
#pragma once

#include <functional>

#include "kernels/core/tensor.h"

namespace heddle {

struct VaeTiles {
  int64_t from = 0, to = 0;  // edge of a tile before and after; 0: no tiling

  // Whether one tile holds all of x [B,H,W,C].
  bool covers(const Tensor& x) const { return from == 0 || (x.dim(1) <= from && x.dim(2) <= from); }

  // Tiles begin every three quarters of an edge; each result fades in over what the tile above it, then the one left of
  // it, says of their common quarter. Differentiable. Error(usage) where the last tile is too thin for `work`.
  Tensor run(const Tensor& x, const std::function<Tensor(const Tensor&)>& work) const;
};

}  // namespace heddle
