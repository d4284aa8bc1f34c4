// The fused kernel on one case, against the oracle: values, log-sum-exp and gradients through both.
#pragma once

#include "tests/kernels/ops/attention_oracle.h"

namespace heddle::testing {

// q, k and v: normals, q times the case's loudness, rounded to the dtype.
std::vector<Array> inputs_of(const AttentionCase& test, DType dtype);

// The root mean square of the difference over that of `want` is at most the tolerance, the largest 16 times it.
void expect_close(const AttentionCase& test, const char* what, DType dtype, const Array& got, const Array& want,
                  double tolerance);

// On slices of joined projections, not aligned to anything; through both outputs.
void check_attention(const AttentionCase& test, DType dtype);
void check_attention(const AttentionCase& test);  // f32 and bf16

}  // namespace heddle::testing
