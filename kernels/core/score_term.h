// A constant that is added to attention's scores before the softmax, in a form that takes memory of keys + classes x
// queries. Boxes, words, frames, segments, windows on a grid, token weights and dense biases are all written so.
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

// bias(b,h,i,j) = rows[b,h, key_class[b,j], i], in nats; -inf hides key j from query i. Never differentiated.
struct ScoreTerm {
  Tensor key_class;  // [1|B,Nk] i64 in 0..C-1; undefined: each key is a class of its own (C = Nk)
  Tensor rows;       // [1|B,1|H,C,1|Nq] f32, last axis dense; finite or -inf (below -1e29 counts as -inf)
};

}  // namespace heddle
