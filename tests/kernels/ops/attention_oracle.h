// Attention in double precision that holds the whole map, forward and backward: what the fused kernel must equal.
#pragma once

#include <vector>

#include "kernels/ops/attention.h"
#include "tests/kernels/ops/op_case.h"

namespace heddle::testing {

// rows[b,h,key_class[b,j],i]; extents of 1 stand for all; without classes key j is class j.
struct TermArrays {
  std::vector<int64_t> key_class;
  Shape class_shape;
  Array rows;
  double at(int64_t b, int64_t h, int64_t i, int64_t j) const;
  Tensor rows_tensor() const;
  Tensor class_tensor() const;
};

struct AttentionCase {
  int64_t batch = 1, heads = 1;
  int64_t queries = 1, keys = 1;
  int64_t dim = 1, value_dim = 1;
  bool causal = false;
  double scale = 0;     // 0: 1/sqrt(dim)
  double loudness = 1;  // factor on q: large values make the map nearly one-hot

  std::vector<TermArrays> terms{};

  std::vector<Shape> shapes() const {
    return {{batch, queries, heads, dim}, {batch, keys, heads, dim}, {batch, keys, heads, value_dim}};
  }
  std::string text() const;
};

// What attention() is to be called with.
AttentionOptions options_of(const AttentionCase& test);

struct AttentionArrays {
  Array out, lse;
};

AttentionArrays attention_forward(const AttentionCase& test, const std::vector<Array>& qkv);
// Gradients of <out, cotangent.out> + <lse, cotangent.lse> in q, k and v.
std::vector<Array> attention_backward(const AttentionCase& test, const std::vector<Array>& qkv,
                                      const AttentionArrays& cotangent);

// The map [B,H,Nq,Nk].
Array attention_map(const AttentionCase& test, const std::vector<Array>& qkv);

}  // namespace heddle::testing
