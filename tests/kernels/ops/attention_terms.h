// Random score terms of each form, for tests. `share` is how many of the entries are -inf.
#pragma once

#include "tests/kernels/ops/attention_oracle.h"

namespace heddle::testing {

// `count` classes scattered over the keys. `extents`: of key_class's batch, then of rows' batch, heads and queries.
TermArrays labels(const AttentionCase& test, int64_t count, const std::array<int64_t, 4>& extents, double share);
// A row for each key; `extents`: rows' batch and heads.
TermArrays dense(const AttentionCase& test, const std::array<int64_t, 2>& extents, double share);
TermArrays per_key(const AttentionCase& test, const std::array<int64_t, 2>& extents);
// Tokens on a grid `width` wide; a query sees keys at most `reach` rows and columns away: one term for each axis.
std::vector<TermArrays> grid_window(const AttentionCase& test, int64_t width, int64_t reach);

}  // namespace heddle::testing
