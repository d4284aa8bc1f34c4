// The one inner kernel of attention: C[i][r] = init + sum over w of A(i,w) * B[w][r], r along vectors, a tile of C in
// registers. Scores, the weighted sum of values and all gradients are this product with other strides, so no operand
// but the queries is ever transposed and a head size that no vector divides costs nothing. Compiled once per
// instruction set.
#if defined(HEDDLE_PRODUCT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_PRODUCT_INL_H
#undef HEDDLE_PRODUCT_INL_H
#else
#define HEDDLE_PRODUCT_INL_H
#endif

#include <immintrin.h>

#include <array>
#include <utility>

#include "hwy/highway.h"
#include "kernels/cpu/product.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET <= HWY_AVX3
#pragma GCC target("avx512bf16")  // used only where has_bf16_products() is true
#endif
namespace heddle::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::ScalableTag<float>;
using LanesVec = hn::Vec<Lanes>;
constexpr int64_t lanes = HWY_LANES(float);
// 6 x 4 accumulators of 32 registers, 6 x 2 of 16.
constexpr int tile_rows = 6;
constexpr int tile_vectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;

// A word is one float.
struct FloatProduct {
  using Word = float;
  static constexpr int64_t keys_per_word = 1;
  static HWY_INLINE LanesVec load(const float* p) { return hn::LoadU(Lanes(), p); }
  static HWY_INLINE LanesVec spread(const float* p) { return hn::Set(Lanes(), *p); }
  static HWY_INLINE LanesVec step(LanesVec a, LanesVec b, LanesVec sum) { return hn::MulAdd(a, b, sum); }
};

#if HWY_TARGET <= HWY_AVX3
// A word is two neighbouring bf16 of the summed axis; both products are added to an f32.
struct PairProduct {
  using Word = uint32_t;
  static constexpr int64_t keys_per_word = 2;
  static HWY_INLINE __m512i load(const uint32_t* p) { return _mm512_loadu_si512(p); }
  static HWY_INLINE __m512i spread(const uint32_t* p) { return _mm512_set1_epi32(static_cast<int>(*p)); }
  static HWY_INLINE LanesVec step(__m512i a, __m512i b, LanesVec sum) {
    return LanesVec{_mm512_dpbf16_ps(sum.raw, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b))};
  }
};
#endif

// What a tile of C holds before the sum; `at` points to the vector of C.
struct FromZero {
  HWY_INLINE LanesVec operator()(const float*, int64_t) const { return hn::Zero(Lanes()); }
};
struct FromC {
  HWY_INLINE LanesVec operator()(const float* at, int64_t) const { return hn::LoadU(Lanes(), at); }
};
struct FromScaledC {  // C[i][r] * factors[r]
  const float* factors;
  HWY_INLINE LanesVec operator()(const float* at, int64_t r) const {
    return hn::Mul(hn::LoadU(Lanes(), at), hn::LoadU(Lanes(), factors + r));
  }
};

template <class Op, class Init, int Rows, int Vectors>
HWY_NOINLINE void product_tile(const Product<typename Op::Word>& p, const Init& init, int64_t first_r) {
  LanesVec sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[i][v] = init(p.c + i * p.c_row + v * lanes, first_r + v * lanes);
  }
  const typename Op::Word* a = p.a;
  const typename Op::Word* b = p.b;
  for (int64_t w = 0; w < p.steps; ++w, a += p.a_step, b += p.b_step) {
    decltype(Op::load(b)) row[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) row[v] = Op::load(b + v * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const auto factor = Op::spread(a + i * p.a_row);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[i][v] = Op::step(factor, row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) hn::StoreU(sum[i][v], Lanes(), p.c + i * p.c_row + v * lanes);
  }
}

template <class Op, class Init>
using ProductTile = void (*)(const Product<typename Op::Word>&, const Init&, int64_t);

template <class Op, class Init, size_t... N>
constexpr std::array<ProductTile<Op, Init>, sizeof...(N)> product_tiles(std::index_sequence<N...>) {
  return {&product_tile<Op, Init, static_cast<int>(N) / tile_vectors + 1, static_cast<int>(N) % tile_vectors + 1>...};
}

// rows of C times `width` vectors. Uneven extents are cut into pieces as equal as can be: a short tile waits on
// latency.
template <class Op, class Init>
void product(Product<typename Op::Word> p, int64_t rows, int64_t width, const Init& init) {
  static constexpr auto tiles = product_tiles<Op, Init>(std::make_index_sequence<tile_rows * tile_vectors>());
  const int64_t across = (width + tile_vectors - 1) / tile_vectors, down = (rows + tile_rows - 1) / tile_rows;
  for (int64_t x = 0; x < across; ++x) {
    const int64_t v = width * x / across, vectors = width * (x + 1) / across - v;
    for (int64_t y = 0; y < down; ++y) {
      const int64_t i = rows * y / down, count = rows * (y + 1) / down - i;
      Product<typename Op::Word> part = p;
      part.a += i * p.a_row;
      part.b += v * lanes;
      part.c += i * p.c_row + v * lanes;
      tiles[(count - 1) * tile_vectors + vectors - 1](part, init, v * lanes);
    }
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
