// Some tokens of a tensor or of a term.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "attention_control/plan/site.h"
#include "kernels/core/score_term.h"
#include "kernels/ops/view.h"

namespace heddle {

inline Tensor picked(const Tensor& x, int axis, const TokenRange& range) {
  return slice(x, axis, range.begin, range.end);
}

// Neighbours in order stay a view.
inline Tensor picked(const Tensor& x, int axis, const std::vector<int64_t>& tokens) {
  const auto jump = std::ranges::adjacent_find(tokens, [](int64_t a, int64_t b) { return b != a + 1; });
  return tokens.empty()         ? slice(x, axis, 0, 0)
         : jump == tokens.end() ? slice(x, axis, tokens.front(), tokens.back() + 1)
                                : gather(x, axis, tokens);
}

// A term over some queries and keys.
template <typename Queries, typename Keys>
ScoreTerm part_of(const ScoreTerm& term, const Queries& queries, const Keys& keys) {
  ScoreTerm out = term;
  if (term.rows.dim(3) > 1) out.rows = picked(out.rows, 3, queries);
  if (term.key_class.defined()) {
    out.key_class = picked(term.key_class, 1, keys);
  } else {
    out.rows = picked(out.rows, 2, keys);
  }
  out.rows = contiguous(out.rows);
  return out;
}

}  // namespace heddle
