// Blocks of quantised numbers to floats.
#pragma once

#include "kernels/ops/quantized.h"

namespace heddle::cpu {

// All of `matrix` into `out` [rows, columns], dense, f32 or bf16.
void dequantize(const QuantizedMatrix& matrix, Tensor& out);

}  // namespace heddle::cpu
