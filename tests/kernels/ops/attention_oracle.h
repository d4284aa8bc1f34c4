// Attention in double precision that holds the whole map, forward and backward: what the fused kernel must equal.
#pragma once

#include <vector>

#include "tests/kernels/ops/op_case.h"

namespace heddle::testing {

struct AttentionCase {
  int64_t batch = 1, heads = 1;
  int64_t queries = 1, keys = 1;
  int64_t dim = 1, value_dim = 1;
  bool causal = false;
  double scale = 0;     // 0: 1/sqrt(dim)
  double loudness = 1;  // factor on q: large values make the map nearly one-hot

  std::vector<Shape> shapes() const {
    return {{batch, queries, heads, dim}, {batch, keys, heads, dim}, {batch, keys, heads, value_dim}};
  }
  std::string text() const;
};

struct AttentionArrays {
  Array out, lse;
};

AttentionArrays attention_forward(const AttentionCase& test, const std::vector<Array>& qkv);
// Gradients of <out, cotangent.out> + <lse, cotangent.lse> in q, k and v.
std::vector<Array> attention_backward(const AttentionCase& test, const std::vector<Array>& qkv,
                                      const AttentionArrays& cotangent);

}  // namespace heddle::testing
