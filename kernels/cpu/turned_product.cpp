// y = c B^T over chunks of rows, copied into depth blocks that all threads read; one task makes 32 columns of y.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/turned_product.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <omp.h>

#include <algorithm>

#include "kernels/core/device.h"
#include "kernels/core/memory.h"
#include "kernels/cpu/row_product-inl.h"
#include "kernels/cpu/turned_product.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {

// B^T for the columns n.. and the rows k..k+31 of B -> panels [32 / column_panel][64][column_panel].
void turn_panel(const BlockedMatrix& b, int64_t k, int64_t n, int64_t depth, float* panels) {
  for (int64_t half = 0; half < product_columns; half += 16) {
    if (k + half >= b.k) {
      for (int64_t j = 0; j < depth; ++j) {
        for (int64_t i = half; i < half + 16; ++i) panels[i / column_panel * row_pitch * column_panel + j * column_panel + i % column_panel] = 0;
      }
      continue;
    }
    for (int64_t j = 0; j < depth; ++j) {
      const float* from = b.data + (k + half) / 16 * b.row_stride + (n + j) / b.block * b.column_stride + (n + j) % b.block;
      for (int64_t i = 0; i < 16; i += std::min<int64_t>(16, column_panel)) {
        float* to = panels + (half + i) / column_panel * row_pitch * column_panel + j * column_panel + (half + i) % column_panel;
        for (int64_t r = 0; r < std::min<int64_t>(16, column_panel); ++r) to[r] = from[(i + r) * b.block];
      }
    }
  }
}

// `a` [depth blocks][rows][64]; sums [rows][32] and panels are the thread's own.
void TurnedColumns(const float* a, int64_t rows, const BlockedMatrix& b, int64_t k, float* sums, float* panels) {
  for (int64_t n = 0; n < b.n; n += row_pitch) {
    const int64_t depth = std::min(row_pitch, b.n - n);
    turn_panel(b, k, n, depth, panels);
    multiply_rows({a + n * rows, panels, sums, rows, depth}, n == 0);
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {

HWY_EXPORT(TurnedColumns);

constexpr int64_t pitch = 64, columns = 32;
constexpr int64_t chunk_bytes = int64_t{8} << 20, most_chunk_rows = 512, panel_floats = pitch * columns;

// Row `row` of c into its places in a; what lies after its end is never multiplied.
void spread_row(const float* from, int64_t n, int64_t row, int64_t rows, float* a) {
  for (int64_t begin = 0; begin < n; begin += pitch) {
    std::copy(from + begin, from + std::min(n, begin + pitch), a + begin * rows + row * pitch);
  }
}

}  // namespace

void turned_product(const float* c, int64_t rows, int64_t stride, const BlockedMatrix& b, float* y) {
  const int64_t padded = (b.n + pitch - 1) / pitch * pitch, tasks = (b.k + columns - 1) / columns, workers = threads();
  const int64_t chunk = std::min(rows, std::clamp<int64_t>(chunk_bytes / (padded * 4), 56, most_chunk_rows));
  const int64_t own_floats = chunk * columns + panel_floats;
  const auto spread = allocate(padded * chunk * 4), own = allocate(workers * own_floats * 4);
  float* const a = reinterpret_cast<float*>(spread.get());
#pragma omp parallel num_threads(static_cast<int>(workers))
  {
    float* const sums = reinterpret_cast<float*>(own.get()) + omp_get_thread_num() * own_floats;
    for (int64_t first = 0; first < rows; first += chunk) {
      const int64_t count = std::min(chunk, rows - first);
#pragma omp for schedule(static)
      for (int64_t r = 0; r < count; ++r) spread_row(c + (first + r) * stride, b.n, r, count, a);
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < tasks; ++task) {
        const int64_t k = task * columns, width = std::min(columns, b.k - k);
        HWY_DYNAMIC_DISPATCH(TurnedColumns)(a, count, b, k, sums, sums + chunk * columns);
        for (int64_t r = 0; r < count; ++r) std::copy_n(sums + r * columns, width, y + (first + r) * b.k + k);
      }
    }
  }
}

}  // namespace heddle::cpu
#endif
