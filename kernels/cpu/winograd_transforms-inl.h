// The three transforms of Winograd F(4x4,3x3) on the interpolation points 0, +-sqrt(1/2), +-sqrt(2) and infinity, which keep
// the f32 error at half of that of the usual 0, +-1, +-2; and U, the transformed filter. Compiled once per instruction set.
#if defined(HEDDLE_WINOGRAD_TRANSFORMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_WINOGRAD_TRANSFORMS_INL_H
#undef HEDDLE_WINOGRAD_TRANSFORMS_INL_H
#else
#define HEDDLE_WINOGRAD_TRANSFORMS_INL_H
#endif

#include <algorithm>

#include "hwy/cache_control.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/row_product-inl.h"
#include "kernels/cpu/winograd_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::winograd::HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;  // NOLINT: the vectors of map-inl.h

using V = FloatsVec;
constexpr Floats d;
constexpr int64_t lanes = float_lanes;
constexpr int64_t panel = column_panel;
static_assert(depth_block == row_pitch && channel_block == product_columns);
constexpr int64_t taps_ahead = 6;  // rows of taps asked for before they are needed

constexpr float p1 = 0.70710678118654752f, p2 = 1.41421356237309505f;  // p1^2 = 1/2, p2^2 = 2, p1 * p2 = 1

// Hints; the address may lie past the end.
template <typename T>
HWY_INLINE void prefetch(const T* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 64 / static_cast<int64_t>(sizeof(T))) hwy::Prefetch(from + i);
}

// B^T x of six values, in place.
HWY_INLINE void input_1d(V& x0, V& x1, V& x2, V& x3, V& x4, V& x5) {
  const V half = hn::Set(d, 0.5f), two = hn::Set(d, 2.0f), c = hn::Set(d, 2.5f), r1 = hn::Set(d, p1), r2 = hn::Set(d, p2);
  const V y0 = hn::Add(hn::NegMulAdd(c, x2, x0), x4);
  const V even1 = hn::NegMulAdd(two, x2, x4), odd1 = hn::NegMulAdd(two, x1, x3);
  const V even2 = hn::NegMulAdd(half, x2, x4), odd2 = hn::NegMulAdd(half, x1, x3);
  const V y5 = hn::Add(hn::NegMulAdd(c, x3, x1), x5);
  x0 = y0;
  x1 = hn::MulAdd(r1, odd1, even1);
  x2 = hn::NegMulAdd(r1, odd1, even1);
  x3 = hn::MulAdd(r2, odd2, even2);
  x4 = hn::NegMulAdd(r2, odd2, even2);
  x5 = y5;
}

// G g of three taps. The divisors are prod(p - q): 1, -3/2 twice, 6 twice, 1.
HWY_INLINE void filter_1d(V g0, V g1, V g2, V* y) {
  const V n1 = hn::Set(d, -1.0f / 1.5f), n2 = hn::Set(d, 1.0f / 6.0f);
  const V even1 = hn::Mul(n1, hn::MulAdd(hn::Set(d, 0.5f), g2, g0)), odd1 = hn::Mul(hn::Set(d, -p1 / 1.5f), g1);
  const V even2 = hn::Mul(n2, hn::MulAdd(hn::Set(d, 2.0f), g2, g0)), odd2 = hn::Mul(hn::Set(d, p2 / 6.0f), g1);
  y[0] = g0;
  y[1] = hn::Add(even1, odd1);
  y[2] = hn::Sub(even1, odd1);
  y[3] = hn::Add(even2, odd2);
  y[4] = hn::Sub(even2, odd2);
  y[5] = g2;
}

// A^T m of six values.
HWY_INLINE void output_1d(const V* m, V& y0, V& y1, V& y2, V& y3) {
  const V s1 = hn::Add(m[1], m[2]), d1 = hn::Sub(m[1], m[2]), s2 = hn::Add(m[3], m[4]), d2 = hn::Sub(m[3], m[4]);
  y0 = hn::Add(hn::Add(m[0], s1), s2);
  y1 = hn::MulAdd(hn::Set(d, p1), d1, hn::Mul(hn::Set(d, p2), d2));
  y2 = hn::MulAdd(hn::Set(d, 0.5f), s1, hn::Add(s2, s2));
  y3 = hn::MulAdd(hn::Set(d, p1 * 0.5f), d1, hn::MulAdd(hn::Set(d, p2 * 2.0f), d2, m[5]));
}

// U for `depth` rows of taps [depth][9][32] -> [points][panels][..][panel], where rows from..from+depth of u's block are filled.
template <typename T>
void transform_filter(const T* taps, int64_t from, int64_t depth, float* u) {
  for (int64_t k = 0; k < depth; ++k) {
    prefetch(taps + (k + taps_ahead) * tap_row, tap_row);
    for (int64_t c = 0; c < channel_block; c += lanes) {
      const T* g = taps + k * tap_row + c;
      V columns[3][6];
      for (int j = 0; j < 3; ++j) {
        filter_1d(load(g + j * channel_block, Whole()), load(g + (3 + j) * channel_block, Whole()),
                  load(g + (6 + j) * channel_block, Whole()), columns[j]);
      }
      float* to = u + (c / panel * depth_block + from + k) * panel + c % panel;
      for (int row = 0; row < 6; ++row) {
        V y[6];
        filter_1d(columns[0][row], columns[1][row], columns[2][row], y);
        for (int column = 0; column < 6; ++column) {
          hn::StoreU(y[column], d, to + (row * 6 + column) * u_point_stride);
        }
      }
    }
  }
}

// taps [in][9][32 out] of one block -> [32 out][9, reversed][32 in] for the input channels from first_in.
template <typename T>
void turn_taps(const T* taps, int64_t first_in, int64_t in, float* to) {
  const int64_t count = std::min(channel_block, in - first_in);
  std::fill_n(to, turned_floats, 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t tap = 0; tap < 9; ++tap) {
      const T* from = taps + (first_in + i) * tap_row + tap * channel_block;
      float* column = to + (8 - tap) * channel_block + i;
      for (int64_t o = 0; o < channel_block; ++o) column[o * tap_row] = static_cast<float>(from[o]);
    }
  }
}

// U of input channels depth*64.. and output channels block*32..
template <typename T>
void prepare_u(const FilterView& f, int64_t block, int64_t depth, int64_t count, const Workspace& work) {
  const T* packed = static_cast<const T*>(f.packed);
  if (!f.turned) {
    return transform_filter(packed + (block * f.in + depth * depth_block) * tap_row, 0, count, work.u);
  }
  for (int64_t k = 0; k < count; k += channel_block) {
    const int64_t out_block = (depth * depth_block + k) / channel_block;
    turn_taps(packed + out_block * f.in * tap_row, block * channel_block, f.in, work.turned);
    transform_filter(static_cast<const float*>(work.turned), k, std::min(channel_block, count - k), work.u);
  }
}

}  // namespace heddle::cpu::winograd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
