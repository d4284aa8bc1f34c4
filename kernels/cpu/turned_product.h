// Products with the transpose of a packed f32 weight, for gradients: the weight is turned panel by panel in the cache, so
// that no second copy of it is kept.
#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"

namespace heddle::cpu {

// B [K,N] in blocks of 16 rows and `block` columns, as oneDNN packs it; element (k, n) stands at
// k / 16 * row_stride + n / block * column_stride + k % 16 * block + n % block. Padded with zeros to whole blocks.
struct BlockedMatrix {
  const float* data;
  int64_t k, n, block;
  int64_t row_stride, column_stride;
};

// c [M,N], rows `stride` floats apart -> y [M,K] = c B^T, dense.
void turned_product(const float* c, int64_t rows, int64_t stride, const BlockedMatrix& b, float* y);

}  // namespace heddle::cpu
