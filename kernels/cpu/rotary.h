// The processor's rotary positions; kernels/ops/rotary.h states what they compute.
#pragma once

#include "kernels/ops/rotary.h"

namespace heddle::cpu {

enum class Turn : uint8_t { forward, back };

// x [B,N,H,D] f32 or bf16 with a dense last axis, not empty -> the same shape, dense.
Tensor rotate(const Tensor& x, const Rotary& at, Turn turn);

}  // namespace heddle::cpu
