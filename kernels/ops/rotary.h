// Rotary positions (Su et al. 2021, section 3.4.2): two neighbouring features of a head, taken as a complex number, are
// turned by an angle that grows with the token's position.
#pragma once

#include <span>

#include "kernels/core/tensor.h"

namespace heddle {

// Tables [N,D] f32, dense, one row a token. Features 2i and 2i+1 have the same angle a: the cosine stands twice, the
// sine as (-sin a, sin a).
struct Rotary {
  Tensor cosine = {}, sine = {};
  bool defined() const { return cosine.defined(); }
};

// `angles`: D/2 of each token, token after token, in radians.
Rotary rotary_tables(std::span<const double> angles, int64_t tokens);

// x [B,N,H,D] f32 or bf16, views welcome where the last axis is dense -> the same shape, dense:
// y[2i] = x[2i] cos a - x[2i+1] sin a,  y[2i+1] = x[2i+1] cos a + x[2i] sin a, computed in f32. Error(internal) for
// tables that do not fit.
Tensor rotate(const Tensor& x, const Rotary& at);

}  // namespace heddle
