// Table look-up and the sinusoidal embedding of times and sizes.
#pragma once

#include "kernels/core/tensor.h"
#include "kernels/ops/quantized.h"

namespace heddle {

// table [V,C] in any float dtype, ids [...] i64 -> [...,C] in `compute`; Error(input) for an id outside 0..V-1.
Tensor embedding(const Tensor& table, const Tensor& ids, DType compute);
// The same of a table that stays as it is stored: the rows of these ids alone become numbers.
Tensor embedding(const QuantizedMatrix& table, const Tensor& ids, DType compute);

// Vaswani et al. 2017, 3.5, as diffusers' get_timestep_embedding states it. Computed in f32.
struct SinusoidOptions {
  int64_t dim = 320;
  bool cosine_first = true;         // flip_sin_to_cos
  double downscale_freq_shift = 0;  // freq_shift
  double max_period = 10000;
};
Tensor sinusoid(const Tensor& values, const SinusoidOptions& options);  // [N] f32 -> [N,dim] f32

}  // namespace heddle
