// The product of f32 rows with a panel of 32 columns that stands in the cache; the inner loop of the Winograd convolution and
// of the products with a turned weight. Compiled once per instruction set.
#if defined(HEDDLE_ROW_PRODUCT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_ROW_PRODUCT_INL_H
#undef HEDDLE_ROW_PRODUCT_INL_H
#else
#define HEDDLE_ROW_PRODUCT_INL_H
#endif

#include <utility>

#include "hwy/cache_control.h"
#include "kernels/cpu/map-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {

constexpr int64_t row_pitch = 64;                 // floats from row to row of a
constexpr int64_t product_columns = 32;           // of b and c
constexpr int64_t column_panel = 2 * float_lanes; // columns that one pass over the rows computes
constexpr int most_rows = HWY_TARGET <= HWY_AVX3 ? 14 : 6;  // accumulators: two vectors a row

struct RowProduct {
  const float* a;       // [rows][64], of which depth are used
  const float* b;       // [32 / column_panel][64][column_panel], of which depth are used
  float* c;             // [rows][32]
  int64_t rows, depth;
};

// One panel of at most most_rows rows; `fresh` overwrites c.
template <int rows>
void row_product(const float* a, const float* b, int64_t depth, float* c, bool fresh) {
  constexpr Floats d;
  FloatsVec sum[rows][2];
#pragma GCC unroll 14
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = fresh ? hn::Zero(d) : hn::LoadU(d, c + r * product_columns);
    sum[r][1] = fresh ? hn::Zero(d) : hn::LoadU(d, c + r * product_columns + float_lanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    hwy::Prefetch(a + (rows + k / 4) * row_pitch + k % 4 * 16);  // the rows after these, spread over the loop
    const FloatsVec b0 = hn::LoadU(d, b + k * column_panel), b1 = hn::LoadU(d, b + k * column_panel + float_lanes);
#pragma GCC unroll 14
    for (int r = 0; r < rows; ++r) {
      const FloatsVec s = hn::Set(d, a[r * row_pitch + k]);
      sum[r][0] = hn::MulAdd(s, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(s, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < rows; ++r) {
    hn::StoreU(sum[r][0], d, c + r * product_columns);
    hn::StoreU(sum[r][1], d, c + r * product_columns + float_lanes);
  }
}

using RowProductKernel = void (*)(const float*, const float*, int64_t, float*, bool);
template <int... rows>
RowProductKernel row_product_for(int64_t count, std::integer_sequence<int, rows...>) {
  static constexpr RowProductKernel all[] = {row_product<rows + 1>...};
  return all[count - 1];
}

// c (+)= a b; the rows are dealt out evenly, so that no pass is left with a few.
inline void multiply_rows(const RowProduct& p, bool fresh) {
  const int64_t groups = (p.rows + most_rows - 1) / most_rows;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t first = g * p.rows / groups, rows = (g + 1) * p.rows / groups - first;
    const RowProductKernel run = row_product_for(rows, std::make_integer_sequence<int, most_rows>());
    for (int64_t column = 0; column < product_columns; column += column_panel) {
      run(p.a + first * row_pitch, p.b + column * row_pitch, p.depth, p.c + first * product_columns + column, fresh);
    }
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
