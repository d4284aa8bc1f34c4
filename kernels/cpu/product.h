// Operands of the register-tile product (product-inl.h).
#pragma once

#include <cstdint>

namespace heddle::cpu {

// C[i][r] = init + sum over w < steps of A(i,w) * B[w][r]. A word is a float, or two bf16 that lie together.
template <class Word>
struct Product {
  const Word* a;  // A(i,w) = a[i * a_row + w * a_step]
  int64_t a_row, a_step;
  const Word* b;  // B[w][r] = b[w * b_step + r]
  int64_t b_step;
  float* c;  // C[i][r] = c[i * c_row + r]
  int64_t c_row;
  int64_t steps;
};

}  // namespace heddle::cpu
