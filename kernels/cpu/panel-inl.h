// Panels: one head's rows, copied out of a strided tensor into the words and the order that the product reads.
// Compiled once per instruction set.
#if defined(HEDDLE_PANEL_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_PANEL_INL_H
#undef HEDDLE_PANEL_INL_H
#else
#define HEDDLE_PANEL_INL_H
#endif

#include <bit>
#include <cstring>

#include "kernels/core/tensor.h"
#include "kernels/cpu/product-inl.h"
#include "kernels/cpu/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {

// `count` rows of `dim` elements, `stride` elements apart.
template <typename T>
struct RowSource {
  const T* data;
  int64_t stride, count, dim;
  const T* row(int64_t i) const { return data + i * stride; }
};

// Rows [begin, end) of one head of x [B,N,H,D]; `problem` counts (b, h).
template <typename T>
RowSource<T> rows_of(const Tensor& x, int64_t problem, int64_t begin, int64_t end) {
  const int64_t heads = x.dim(2);
  return {x.data<T>() + problem / heads * x.stride(0) + problem % heads * x.stride(2) + begin * x.stride(1),
          x.stride(1), end - begin, x.dim(3)};
}

inline uint32_t pair(BFloat16 low, BFloat16 high) {
  return static_cast<uint32_t>(low.bits) | static_cast<uint32_t>(high.bits) << 16;
}

template <class Op>
struct Panel;

template <>
struct Panel<FloatProduct> {
  static int64_t words(int64_t dim) { return dim; }  // of a summed axis
  static int64_t words_between(int64_t rows) { return rows; }

  // [row][d]: summed over d as A, or over rows as A or B.
  template <typename T>
  static void by_feature(const RowSource<T>& x, float* to, int64_t step) {
    for (int64_t i = 0; i < x.count; ++i) {
      const T* row = x.row(i);
      float* out = to + i * step;
      for_vectors(x.dim, [&](int64_t c, auto part) HWY_ATTR { store(load(row + c, part), out + c, part); });
    }
  }
  template <typename T>
  static void by_row(const RowSource<T>& x, float* to, int64_t step) {
    by_feature(x, to, step);
  }
  // [d][row], summed over d as B.
  template <typename T>
  static void transposed(const RowSource<T>& x, float factor, float* to, int64_t step) {
    const FloatsVec factors = hn::Set(Floats(), factor);
    transpose(
        x.count, x.dim, x.dim,
        [&](int64_t i, int64_t c) HWY_ATTR { return hn::Mul(factors, load(x.row(i) + c, Whole())); },
        [&](int64_t i, int64_t c) { return factor * static_cast<float>(x.row(i)[c]); }, to, step);
  }
};

#if HWY_TARGET <= HWY_AVX3
template <>
struct Panel<PairProduct> {
  static int64_t words(int64_t dim) { return (dim + 1) / 2; }
  static int64_t words_between(int64_t rows) { return (rows + 1) / 2; }

  static BFloat16 at(const RowSource<BFloat16>& x, int64_t i, int64_t c) {
    return i < x.count && c < x.dim ? x.row(i)[c] : BFloat16();
  }
  static void by_feature(const RowSource<BFloat16>& x, uint32_t* to, int64_t step) {
    for (int64_t i = 0; i < x.count; ++i) {
      to[i * step + words(x.dim) - 1] = 0;
      std::memcpy(to + i * step, x.row(i), static_cast<size_t>(x.dim) * sizeof(BFloat16));
    }
  }
  // [row pair][d]
  static void by_row(const RowSource<BFloat16>& x, uint32_t* to, int64_t step) {
    for (int64_t i = 0; i < x.count; i += 2) {
      uint32_t* out = to + i / 2 * step;
      if (i + 1 < x.count)
        join_rows(x.row(i), x.row(i + 1), x.dim, out);
      else
        for (int64_t c = 0; c < x.dim; ++c) out[c] = pair(x.row(i)[c], BFloat16());
    }
  }
  // [d pair][row]; the scale is applied to the scores, where nothing is rounded.
  static void transposed(const RowSource<BFloat16>& x, float, uint32_t* to, int64_t step) {
    const auto word = [&](int64_t i, int64_t w) {
      return std::bit_cast<float>(pair(at(x, i, 2 * w), at(x, i, 2 * w + 1)));
    };
    const auto words_at = [&](int64_t i, int64_t w) HWY_ATTR {
      const hn::RebindToUnsigned<Floats> d32;
      return hn::BitCast(Floats(), hn::LoadU(d32, reinterpret_cast<const uint32_t*>(x.row(i) + 2 * w)));
    };
    transpose(x.count, x.dim / 2, words(x.dim), words_at, word, reinterpret_cast<float*>(to), step);
  }

 private:
  static void join_rows(const BFloat16* low, const BFloat16* high, int64_t dim, uint32_t* out) {
    for_vectors(dim, [&](int64_t c, auto part) HWY_ATTR {
      const hn::RebindToUnsigned<Floats> d32;
      const auto below = hn::ShiftRight<16>(hn::BitCast(d32, load(low + c, part)));
      store(hn::BitCast(Floats(), hn::Or(below, hn::BitCast(d32, load(high + c, part)))),
            reinterpret_cast<float*>(out + c), part);
    });
  }
};
#endif

// Columns of a tile [dim][query_rows], scaled by the query, become rows of T; `rows` [query_rows][step] is room.
template <typename T, class Vectors, class One>
void write_transposed(int64_t dim, int64_t queries, const Vectors& vectors, const One& one, float* rows, int64_t step,
                      T* to, int64_t stride) {
  transpose(dim, queries, queries, vectors, one, rows, step);
  for (int64_t i = 0; i < queries; ++i) {
    const float* from = rows + i * step;
    T* out = to + i * stride;
    for_vectors(dim, [&](int64_t c, auto part) HWY_ATTR { store(load(from + c, part), out + c, part); });
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
