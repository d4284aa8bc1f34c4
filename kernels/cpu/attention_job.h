// How attention is cut into pieces of work, and the plain data that the vectorised pieces share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/attention.h"

namespace heddle::cpu {

constexpr int64_t query_rows = 64;      // queries of one block: the vector axis of every tile
constexpr int64_t query_grain = 16;     // a short block still fills whole vectors
constexpr float masked_score = -1e30f;  // finite, so that differences of two stay numbers

// `count` things in pieces of at most `most`, as equal as `grain` allows.
struct Pieces {
  int64_t count, size, pieces;
  Pieces(int64_t count, int64_t most, int64_t grain) : count(count) {
    const int64_t wanted = (count + most - 1) / most, even = (count + wanted - 1) / wanted;
    size = (even + grain - 1) / grain * grain;
    pieces = (count + size - 1) / size;
  }
  int64_t begin(int64_t i) const { return i * size; }
  int64_t end(int64_t i) const { return std::min(count, (i + 1) * size); }
};

// Words of one row of a panel: no power of two, so that rows do not fall on the same cache lines' sets.
constexpr int64_t panel_step(int64_t words) {
  return words % 256 == 0 ? words + 16 : words;
}

struct AttentionSizes {
  int64_t batch, heads, queries, keys, dim, value_dim;
  explicit AttentionSizes(const AttentionInputs& in)
      : batch(in.q.dim(0)),
        heads(in.q.dim(2)),
        queries(in.q.dim(1)),
        keys(in.k.dim(1)),
        dim(in.q.dim(3)),
        value_dim(in.v.dim(3)) {}
  int64_t problems() const { return batch * heads; }
  // First key that no query below `query_end` may see.
  int64_t key_end(int64_t query_end, bool causal) const {
    return causal ? std::clamp<int64_t>(query_end + keys - queries, 0, keys) : keys;
  }
};

// One term as one head sees it.
struct HeadTerm {
  const int64_t* key_class;  // null: key j is of class j
  const float* rows;         // [class][query]
  int64_t class_step;
  bool by_query;  // else one value stands for all queries

  int64_t class_of(int64_t key) const { return key_class ? key_class[key] : key; }
  // Of a class, from the given query on.
  const float* row(int64_t of_class, int64_t query) const {
    return rows + of_class * class_step + (by_query ? query : 0);
  }
};

constexpr int most_terms = 8;

// The terms of one problem (b, h). Held in place: threads do not allocate.
struct HeadTerms {
  HeadTerm terms[most_terms];
  int count = 0;

  HeadTerms(const AttentionInputs& in, int64_t problem) {
    const int64_t b = problem / in.q.dim(2), h = problem % in.q.dim(2);
    const auto step = [](const Tensor& x, int axis) { return x.dim(axis) > 1 ? x.stride(axis) : 0; };
    for (const auto& [key_class, rows] : in.terms) {
      terms[count++] = {key_class.defined() ? key_class.data<int64_t>() + b * step(key_class, 0) : nullptr,
                        rows.data<float>() + b * step(rows, 0) + h * step(rows, 1), rows.stride(2), rows.dim(3) > 1};
    }
  }
  const HeadTerm* begin() const { return terms; }
  const HeadTerm* end() const { return terms + count; }
};

}  // namespace heddle::cpu
