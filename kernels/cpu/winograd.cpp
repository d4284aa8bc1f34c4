// Winograd convolution: packing, and the division of the work into chunks of tiles whose V stays in the cache, and for
// each chunk into blocks of output channels, one task each.
#include "kernels/cpu/winograd.h"

#include <omp.h>

#include <algorithm>

#include "kernels/core/device.h"
#include "kernels/core/memory.h"
#include "kernels/cpu/winograd_kernels.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle::cpu {

using namespace winograd;

namespace {

constexpr int64_t run_of_tiles = 8;             // transformed by one task
constexpr int64_t most_tiles = 128;            // of a chunk: M [36][tiles][32] has to stay in a core's cache
constexpr int64_t v_bytes = int64_t{12} << 20;  // of a chunk's V

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Plan {
  int64_t tiles, chunk_tiles, depths, blocks, parts;  // parts: of a chunk's tiles for one block of channels
  int64_t point_stride, depth_stride;
};

Plan plan_for(const Picture& p, int64_t pictures, int64_t workers) {
  Plan plan{};
  plan.tiles = pictures * p.tiles_y * p.tiles_x;
  plan.depths = ceil_div(p.channels, depth_block);
  plan.blocks = ceil_div(p.out_channels, channel_block);
  const int64_t tile_bytes = points * plan.depths * depth_block * 4;
  const int64_t fitting = std::clamp<int64_t>(v_bytes / tile_bytes, 32, most_tiles);
  plan.chunk_tiles = ceil_div(plan.tiles, ceil_div(plan.tiles, fitting));
  plan.parts = 1;
  while (plan.blocks * plan.parts % workers != 0 && plan.blocks * plan.parts < 4 * workers && plan.chunk_tiles / plan.parts >= 16) ++plan.parts;
  plan.point_stride = plan.chunk_tiles * depth_block + skew;
  plan.depth_stride = points * plan.point_stride;
  return plan;
}

void run(const Picture& p, int64_t pictures, const void* x, const FilterView& filter, const Epilogue& epilogue) {
  const int64_t workers = threads();
  const Plan plan = plan_for(p, pictures, workers);
  const int64_t m_floats = points * m_point_stride(ceil_div(plan.chunk_tiles, plan.parts));
  const int64_t per_worker = u_floats + m_floats + turned_floats;
  const auto v = allocate(plan.depths * plan.depth_stride * 4);
  const auto own = allocate(workers * per_worker * 4);
#pragma omp parallel num_threads(static_cast<int>(workers))
  {
    float* const u = reinterpret_cast<float*>(own.get()) + omp_get_thread_num() * per_worker;
    const Workspace work{u, u + u_floats, u + u_floats + m_floats};
    for (int64_t first = 0; first < plan.tiles; first += plan.chunk_tiles) {
      const int64_t tiles = std::min(plan.chunk_tiles, plan.tiles - first);
      const Chunk chunk{first, tiles, reinterpret_cast<float*>(v.get()), plan.point_stride, plan.depth_stride};
#pragma omp for schedule(static)
      for (int64_t i = 0; i < plan.depths * ceil_div(tiles, run_of_tiles); ++i) {
        const int64_t begin = i / plan.depths * run_of_tiles;
        transform_input(p, x, chunk, i % plan.depths, begin, std::min(tiles, begin + run_of_tiles));
      }
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < plan.blocks * plan.parts; ++i) {
        const int64_t part = i % plan.parts;
        const BlockTask task{i / plan.parts, part * tiles / plan.parts, (part + 1) * tiles / plan.parts};
        if (task.end > task.begin) multiply_block(p, chunk, filter, epilogue, task, work);
      }
    }
  }
}

Picture picture_of(const Tensor& x, const Tensor& y, int64_t top, int64_t left) {
  Picture p{x.shape()[1], x.shape()[2], x.shape()[3], y.shape()[1], y.shape()[2], y.shape()[3], top, left, 0, 0, x.dtype()};
  p.tiles_y = ceil_div(p.out_height, tile);
  p.tiles_x = ceil_div(p.out_width, tile);
  return p;
}

template <typename T>
void pack_taps(const T* from, int64_t out, int64_t in, T* to) {
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < ceil_div(out, channel_block); ++block) {
    for (int64_t i = 0; i < in; ++i) {
      T* row = to + (block * in + i) * tap_row;
      std::fill_n(row, tap_row, T{});
      for (int64_t o = 0; o < std::min(channel_block, out - block * channel_block); ++o) {
        const T* taps = from + ((block * channel_block + o) * in + i) * 9;
        for (int64_t tap = 0; tap < 9; ++tap) row[tap * channel_block + o] = taps[tap];
      }
    }
  }
}

}  // namespace

bool WinogradFilter::suits(const Tensor& weight, const ConvGeometry& geometry) {
  const Padding& p = geometry.padding;
  return weight.shape()[2] == 3 && weight.shape()[3] == 3 && geometry.stride == 1 && std::max({p.top, p.left, p.bottom, p.right}) <= 2;
}

WinogradFilter::WinogradFilter(const Tensor& weight, const Tensor& bias, const Padding& padding, DType compute)
    : out_(weight.shape()[0]), in_(weight.shape()[1]), padding_(padding) {
  if (bias.defined()) bias_ = contiguous(to(bias, DType::f32)).detach();
  const Tensor dense = to(contiguous(weight), compute);
  packed_ = Tensor::empty({ceil_div(out_, channel_block), in_, 9, channel_block}, compute);
  if (compute == DType::bf16) pack_taps(dense.data<BFloat16>(), out_, in_, packed_.fill_data<BFloat16>());
  else pack_taps(dense.data<float>(), out_, in_, packed_.fill_data<float>());
}

Tensor WinogradFilter::bias_rows(const Tensor& row_bias) const {
  if (!row_bias.defined()) return bias_;
  const Tensor rows = to(row_bias, DType::f32);
  return bias_.defined() ? add(rows, bias_) : rows;
}

void WinogradFilter::forward(const Tensor& x, const ConvAddends& plus, Tensor& out) const {
  const Tensor bias = bias_rows(plus.row_bias);
  const Epilogue epilogue{bias.defined() ? bias.data<float>() : nullptr, plus.row_bias.defined() ? out_ : 0,
                          plus.residual.defined() ? plus.residual.bytes() : nullptr, out.fill_bytes()};
  run(picture_of(x, out, padding_.top, padding_.left), x.shape()[0], x.bytes(), {packed_.bytes(), packed_.dtype(), out_, in_, false},
      epilogue);
}

// The cotangent of x is the cotangent of y convolved with the turned filter, padded by what the padding left of 2.
void WinogradFilter::backward(const Tensor& cotangent, Tensor& d_x) const {
  run(picture_of(cotangent, d_x, 2 - padding_.top, 2 - padding_.left), cotangent.shape()[0], cotangent.bytes(),
      {packed_.bytes(), packed_.dtype(), out_, in_, true}, {nullptr, 0, nullptr, d_x.fill_bytes()});
}

}  // namespace heddle::cpu
