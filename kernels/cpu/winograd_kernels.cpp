// Winograd F(4x4,3x3) on the interpolation points 0, +-sqrt(1/2), +-sqrt(2) and infinity, which keep the f32 error at half
// of that of the usual 0, +-1, +-2. Vectors run over channels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <utility>

#include "kernels/cpu/winograd_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::winograd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr D d;
constexpr int64_t lanes = hn::MaxLanes(D());
constexpr int64_t panel = 2 * lanes;  // columns of one product
constexpr int64_t panels = channel_block / panel;
constexpr int most_rows = HWY_TARGET <= HWY_AVX3 ? 14 : 6;  // accumulators: two vectors a row

constexpr int64_t taps_ahead = 6;     // rows of taps asked for before they are needed

constexpr float p1 = 0.70710678118654752f, p2 = 1.41421356237309505f;  // p1^2 = 1/2, p2^2 = 2, p1 * p2 = 1

HWY_INLINE V load(const float* from) { return hn::LoadU(d, from); }
HWY_INLINE V load(const BFloat16* from) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

HWY_INLINE void store(V v, float* to) { hn::StoreU(v, d, to); }
HWY_INLINE void store(V v, BFloat16* to) {  // rounds to nearest even, keeps NaN
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fff))));
  const auto nan = hn::RebindMask(d32, hn::IsNaN(v));
  const auto narrow = hn::BitCast(hn::RebindToSigned<D>(), hn::IfThenElse(nan, hn::Set(d32, 0x7fc0), rounded));
  hn::StoreU(hn::DemoteTo(d16, narrow), d16, reinterpret_cast<uint16_t*>(to));
}

// The first `count` elements of a vector; fewer than `lanes` only at the end of the channels.
template <typename T>
HWY_INLINE V load_some(const T* from, int64_t count) {
  if (count >= lanes) return load(from);
  alignas(64) T padded[lanes] = {};
  std::copy(from, from + std::max<int64_t>(count, 0), padded);
  return load(padded);
}

template <typename T>
HWY_INLINE void store_some(V v, T* to, int64_t count) {
  if (count >= lanes) return store(v, to);
  alignas(64) T whole[lanes];
  store(v, whole);
  std::copy(whole, whole + count, to);
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

// Hints; the address may lie past the end.
template <typename T>
HWY_INLINE void prefetch(const T* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 64 / static_cast<int64_t>(sizeof(T))) hwy::Prefetch(from + i);
}

struct TilePlace {
  int64_t picture, y, x;  // of the first result
};

HWY_INLINE TilePlace place_of(const Picture& p, int64_t index) {
  const int64_t per_picture = p.tiles_y * p.tiles_x;
  return {index / per_picture, index % per_picture / p.tiles_x * tile, index % p.tiles_x * tile};
}

template <typename T>
void transform_input_of(const Picture& p, const T* x, const Chunk& chunk, int64_t depth, int64_t begin, int64_t end) {
  const int64_t first = depth * depth_block, count = std::min(depth_block, p.channels - first);
  float* const v = chunk.v + depth * chunk.depth_stride;
  for (int64_t t = begin; t < end; ++t) {
    const TilePlace at = place_of(p, chunk.first_tile + t);
    const T* source[points];  // null where the filter hangs over the edge
    for (int64_t i = 0; i < points; ++i) {
      const int64_t row = at.y - p.top + i / 6, column = at.x - p.left + i % 6;
      const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
      source[i] = inside ? x + ((at.picture * p.height + row) * p.width + column) * p.channels + first : nullptr;
    }
    for (int64_t c = 0; c < count; c += lanes) {
      V t36[points];
      for (int column = 0; column < 6; ++column) {
        V s[6];
        for (int row = 0; row < 6; ++row) {
          const T* from = source[row * 6 + column];
          s[row] = from == nullptr ? hn::Zero(d) : load_some(from + c, count - c);
          if (column >= 2 && from != nullptr) hwy::Prefetch(from + c + tile * p.channels);  // what the next tile adds
        }
        input_1d(s[0], s[1], s[2], s[3], s[4], s[5]);
        for (int row = 0; row < 6; ++row) t36[row * 6 + column] = s[row];
      }
      for (int row = 0; row < 6; ++row) {
        V* s = t36 + row * 6;
        input_1d(s[0], s[1], s[2], s[3], s[4], s[5]);
        for (int column = 0; column < 6; ++column) {
          float* const to = v + (row * 6 + column) * chunk.point_stride + t * depth_block + c;
          hwy::Prefetch(to + depth_block);
          hn::StoreU(s[column], d, to);
        }
      }
    }
  }
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
        filter_1d(load(g + j * channel_block), load(g + (3 + j) * channel_block), load(g + (6 + j) * channel_block), columns[j]);
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

// c [rows][32] (+)= a [rows][64] b [depth][panel]
template <int rows>
HWY_INLINE void product(const float* a, const float* b, int64_t depth, float* c, bool fresh) {
  V sum[rows][2];
#pragma GCC unroll 14
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = fresh ? hn::Zero(d) : hn::LoadU(d, c + r * channel_block);
    sum[r][1] = fresh ? hn::Zero(d) : hn::LoadU(d, c + r * channel_block + lanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    hwy::Prefetch(a + (rows + k / 4) * depth_block + k % 4 * 16);
    const V b0 = hn::LoadU(d, b + k * panel), b1 = hn::LoadU(d, b + k * panel + lanes);
#pragma GCC unroll 14
    for (int r = 0; r < rows; ++r) {
      const V s = hn::Set(d, a[r * depth_block + k]);
      sum[r][0] = hn::MulAdd(s, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(s, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < rows; ++r) {
    hn::StoreU(sum[r][0], d, c + r * channel_block);
    hn::StoreU(sum[r][1], d, c + r * channel_block + lanes);
  }
}

template <int rows>
void product_of(const float* a, const float* b, int64_t depth, float* c, bool fresh) {
  product<rows>(a, b, depth, c, fresh);
}

using Product = void (*)(const float*, const float*, int64_t, float*, bool);
template <int... rows>
Product product_for(int64_t count, std::integer_sequence<int, rows...>) {
  static constexpr Product all[] = {product_of<rows + 1>...};
  return all[count - 1];
}

// M (+)= V U for all points; the rows are dealt out evenly, so that no product is left with a few.
void multiply(const Chunk& chunk, int64_t depth, int64_t count, const BlockTask& task, const Workspace& work) {
  const int64_t tiles = task.end - task.begin, groups = (tiles + most_rows - 1) / most_rows;
  for (int64_t point = 0; point < points; ++point) {
    const float* v = chunk.v + depth * chunk.depth_stride + point * chunk.point_stride + task.begin * depth_block;
    const float* u = work.u + point * u_point_stride;
    float* m = work.m + point * m_point_stride(tiles);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = g * tiles / groups, rows = (g + 1) * tiles / groups - first;
      const Product run = product_for(rows, std::make_integer_sequence<int, most_rows>());
      for (int64_t q = 0; q < panels; ++q) {
        run(v + first * depth_block, u + q * depth_block * panel, count, m + first * channel_block + q * panel, depth == 0);
      }
    }
  }
}

template <typename T>
struct Place {
  T* y;
  const T* residual;
  V bias;
  int64_t channels;  // that exist from here on
};

template <typename T>
HWY_INLINE void write_tile(const Picture& p, const TilePlace& at, const V rows[4][6], const Place<T>& to) {
  for (int64_t dy = 0; dy < tile && at.y + dy < p.out_height; ++dy) {
    V y[4];
    output_1d(rows[dy], y[0], y[1], y[2], y[3]);
    for (int64_t dx = 0; dx < tile && at.x + dx < p.out_width; ++dx) {
      const int64_t offset = ((at.picture * p.out_height + at.y + dy) * p.out_width + at.x + dx) * p.out_channels;
      V result = hn::Add(y[dx], to.bias);
      if (to.residual != nullptr) result = hn::Add(result, load_some(to.residual + offset, to.channels));
      store_some(result, to.y + offset, to.channels);
    }
  }
}

template <typename T>
void transform_output(const Picture& p, const Chunk& chunk, const Epilogue& e, const BlockTask& task, const Workspace& work) {
  const int64_t tiles = task.end - task.begin;
  for (int64_t t = 0; t < tiles; ++t) {
    const TilePlace at = place_of(p, chunk.first_tile + task.begin + t);
    for (int64_t c = 0; c < channel_block; c += lanes) {
      const int64_t channel = task.block * channel_block + c, left = p.out_channels - channel;
      if (left <= 0) break;
      const V bias = e.bias == nullptr ? hn::Zero(d) : load_some(e.bias + at.picture * e.bias_stride + channel, left);
      const float* m = work.m + t * channel_block + c;
      V rows[4][6];
      for (int column = 0; column < 6; ++column) {
        V s[6];
        for (int row = 0; row < 6; ++row) s[row] = hn::LoadU(d, m + (row * 6 + column) * m_point_stride(tiles));
        output_1d(s, rows[0][column], rows[1][column], rows[2][column], rows[3][column]);
      }
      const T* residual = e.residual == nullptr ? nullptr : static_cast<const T*>(e.residual) + channel;
      write_tile<T>(p, at, rows, {static_cast<T*>(e.y) + channel, residual, bias, left});
    }
  }
}

void TransformInput(const Picture& p, const void* x, const Chunk& chunk, int64_t depth, int64_t begin, int64_t end) {
  if (p.dtype == DType::bf16) return transform_input_of(p, static_cast<const BFloat16*>(x), chunk, depth, begin, end);
  transform_input_of(p, static_cast<const float*>(x), chunk, depth, begin, end);
}

void MultiplyBlock(const Picture& p, const Chunk& chunk, const FilterView& filter, const Epilogue& epilogue,
                   const BlockTask& task, const Workspace& work) {
  for (int64_t first = 0; first < p.channels; first += depth_block) {
    const int64_t depth = first / depth_block, count = std::min(depth_block, p.channels - first);
    if (filter.dtype == DType::bf16) prepare_u<BFloat16>(filter, task.block, depth, count, work);
    else prepare_u<float>(filter, task.block, depth, count, work);
    multiply(chunk, depth, count, task, work);
  }
  if (p.dtype == DType::bf16) transform_output<BFloat16>(p, chunk, epilogue, task, work);
  else transform_output<float>(p, chunk, epilogue, task, work);
}

}  // namespace heddle::cpu::winograd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu::winograd {

HWY_EXPORT(TransformInput);
HWY_EXPORT(MultiplyBlock);

void transform_input(const Picture& picture, const void* x, const Chunk& chunk, int64_t depth, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(TransformInput)(picture, x, chunk, depth, begin, end);
}

void multiply_block(const Picture& picture, const Chunk& chunk, const FilterView& filter, const Epilogue& epilogue,
                    const BlockTask& task, const Workspace& work) {
  HWY_DYNAMIC_DISPATCH(MultiplyBlock)(picture, chunk, filter, epilogue, task, work);
}

}  // namespace heddle::cpu::winograd
#endif
