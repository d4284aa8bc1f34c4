// The inner loops of Winograd F(4x4,3x3): V from the pixels, M = V U, pixels from M. Vectors run over channels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cpu/row_product-inl.h"
#include "kernels/cpu/winograd_kernels.h"
#include "kernels/cpu/winograd_transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::winograd::HWY_NAMESPACE {

// The first `count` elements of a vector; fewer than `lanes` only at the end of the channels.
template <typename T>
HWY_INLINE V load_some(const T* from, int64_t count) {
  return count >= lanes ? load(from, Whole()) : load(from, Part{count});
}
template <typename T>
HWY_INLINE void store_some(V v, T* to, int64_t count) {
  if (count >= lanes) return store(v, to, Whole());
  store(v, to, Part{count});
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

struct Upcoming {
  const std::byte* from;
  int64_t bytes;
};

// M (+)= V U for all points. Meanwhile the taps of the next block of depth are asked for, a part with each point.
void multiply(const Chunk& chunk, int64_t depth, int64_t count, const BlockTask& task, const Workspace& work, const Upcoming& next) {
  const int64_t tiles = task.end - task.begin;
  for (int64_t point = 0; point < points; ++point) {
    const float* v = chunk.v + depth * chunk.depth_stride + point * chunk.point_stride + task.begin * depth_block;
    const float* u = work.u + point * u_point_stride;
    float* m = work.m + point * m_point_stride(tiles);
    prefetch(next.from + point * next.bytes / points, next.bytes / points);
    multiply_rows({v, u, m, tiles, count}, depth == 0);
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

// The taps that prepare_u will read for this block of depth; nothing where they are scattered.
Upcoming upcoming(const FilterView& f, int64_t block, int64_t depth) {
  const int64_t count = std::min(depth_block, f.in - depth * depth_block), row = tap_row * size_of(f.dtype);
  if (f.turned || count <= 0) return {nullptr, 0};
  return {static_cast<const std::byte*>(f.packed) + (block * f.in + depth * depth_block) * row, count * row};
}

void MultiplyBlock(const Picture& p, const Chunk& chunk, const FilterView& filter, const Epilogue& epilogue,
                   const BlockTask& task, const Workspace& work) {
  for (int64_t first = 0; first < p.channels; first += depth_block) {
    const int64_t depth = first / depth_block, count = std::min(depth_block, p.channels - first);
    if (filter.dtype == DType::bf16) prepare_u<BFloat16>(filter, task.block, depth, count, work);
    else prepare_u<float>(filter, task.block, depth, count, work);
    multiply(chunk, depth, count, task, work, upcoming(filter, task.block, depth + 1));
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
