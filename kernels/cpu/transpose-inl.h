// Turns rows of 32-bit words into columns, four rows and a vector of columns at a time. Compiled once per instruction
// set.
#if defined(HEDDLE_TRANSPOSE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_TRANSPOSE_INL_H
#undef HEDDLE_TRANSPOSE_INL_H
#else
#define HEDDLE_TRANSPOSE_INL_H
#endif

#include <cstring>

#include "kernels/cpu/map-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {

// Four words of each of `float_lanes` columns to their places: piece k of block b belongs to column 4 b + k.
[[maybe_unused]] HWY_INLINE void scatter_blocks(const FloatsVec (&piece)[4], float* to, int64_t step) {
  HWY_ALIGN float room[4 * float_lanes];
  for (int k = 0; k < 4; ++k) hn::StoreU(piece[k], Floats(), room + k * float_lanes);
  for (int64_t column = 0; column < float_lanes; ++column) {
    std::memcpy(to + column * step, room + column % 4 * float_lanes + column / 4 * 4, 4 * sizeof(float));
  }
}

// to[c * step + r] = source(r, c) for r < rows, c < columns. `vectors(r, c)` gives a vector of row r from column c on,
// for the first `whole` columns; `one(r, c)` a word.
template <class Vectors, class One>
HWY_INLINE void transpose(int64_t rows, [[maybe_unused]] int64_t whole, int64_t columns,
                          [[maybe_unused]] const Vectors& vectors, const One& one, float* to, int64_t step) {
  int64_t by_four = 0, by_vector = 0;
#if HWY_TARGET != HWY_SCALAR
  const Floats d;
  by_four = rows / 4 * 4;
  by_vector = whole / float_lanes * float_lanes;
  for (int64_t c = 0; c < by_vector; c += float_lanes) {
    for (int64_t r = 0; r < by_four; r += 4) {
      const FloatsVec a = vectors(r, c), b = vectors(r + 1, c), e = vectors(r + 2, c), f = vectors(r + 3, c);
      const FloatsVec ae = hn::InterleaveLower(d, a, e), bf = hn::InterleaveLower(d, b, f);
      const FloatsVec ae_high = hn::InterleaveUpper(d, a, e), bf_high = hn::InterleaveUpper(d, b, f);
      const FloatsVec piece[4] = {hn::InterleaveLower(d, ae, bf), hn::InterleaveUpper(d, ae, bf),
                                  hn::InterleaveLower(d, ae_high, bf_high), hn::InterleaveUpper(d, ae_high, bf_high)};
      scatter_blocks(piece, to + c * step + r, step);
    }
  }
#endif
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = r < by_four ? by_vector : 0; c < columns; ++c) to[c * step + r] = one(r, c);
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
