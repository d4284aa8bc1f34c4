// Resampling: each output row and column reads one or two source rows and columns; the gradient walks the same table.
#include "kernels/ops/resize.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// One output coordinate as a weighted pair of source coordinates.
struct Tap {
  int64_t first, second;
  float weight;  // of `second`; 1 - weight of `first`
};

std::vector<Tap> nearest_taps(int64_t from, int64_t to) {
  std::vector<Tap> taps;
  const float step = static_cast<float>(from) / static_cast<float>(to);
  for (int64_t i = 0; i < to; ++i) {
    const int64_t source = std::min(static_cast<int64_t>(std::floor(static_cast<float>(i) * step)), from - 1);
    taps.push_back({source, source, 0});
  }
  return taps;
}

std::vector<Tap> bilinear_taps(int64_t from, int64_t to) {
  std::vector<Tap> taps;
  const float step = static_cast<float>(from) / static_cast<float>(to);
  for (int64_t i = 0; i < to; ++i) {
    const float at = std::max(0.0f, (static_cast<float>(i) + 0.5f) * step - 0.5f);
    const int64_t first = std::min(static_cast<int64_t>(at), from - 1);
    taps.push_back({first, std::min(first + 1, from - 1), at - static_cast<float>(first)});
  }
  return taps;
}

struct Resampling {
  std::vector<Tap> rows, columns;
  Shape source;
};

// Adds weight * from[0..n) to `to` in f32.
template <typename From>
void accumulate(const From* from, float weight, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += weight * static_cast<float>(from[i]);
}

template <typename T>
Tensor resample(const Tensor& x, const Resampling& plan) {
  const int64_t height = static_cast<int64_t>(plan.rows.size()), width = static_cast<int64_t>(plan.columns.size());
  const int64_t channels = x.dim(3), source_width = x.dim(2);
  Tensor out = Tensor::empty({x.dim(0), height, width, channels}, x.dtype());
  T* target = out.fill_data<T>();
  const T* source = x.data<T>();
#pragma omp parallel for schedule(static)
  for (int64_t line = 0; line < x.dim(0) * height; ++line) {
    const Tap& row = plan.rows[static_cast<size_t>(line % height)];
    const T* picture = source + line / height * x.dim(1) * source_width * channels;
    std::vector<float> sum(static_cast<size_t>(channels));
    for (int64_t column = 0; column < width; ++column) {
      const Tap& tap = plan.columns[static_cast<size_t>(column)];
      T* pixel = target + (line * width + column) * channels;
      if (row.weight == 0 && tap.weight == 0) {
        std::copy_n(picture + (row.first * source_width + tap.first) * channels, channels, pixel);
        continue;
      }
      std::fill(sum.begin(), sum.end(), 0.0f);
      accumulate(picture + (row.first * source_width + tap.first) * channels, (1 - row.weight) * (1 - tap.weight),
                 sum.data(), channels);
      accumulate(picture + (row.first * source_width + tap.second) * channels, (1 - row.weight) * tap.weight,
                 sum.data(), channels);
      accumulate(picture + (row.second * source_width + tap.first) * channels, row.weight * (1 - tap.weight),
                 sum.data(), channels);
      accumulate(picture + (row.second * source_width + tap.second) * channels, row.weight * tap.weight, sum.data(),
                 channels);
      for (int64_t c = 0; c < channels; ++c) pixel[c] = T(sum[static_cast<size_t>(c)]);
    }
  }
  return out;
}

// The adjoint of resample: scatters in f32, one picture at a time, then rounds.
template <typename T>
Tensor scatter(const Tensor& cotangent, const Resampling& plan) {
  const int64_t height = cotangent.dim(1), width = cotangent.dim(2), channels = cotangent.dim(3);
  Tensor sums = Tensor::zeros(plan.source, DType::f32);
  float* target = sums.fill_data<float>();
  const T* source = cotangent.data<T>();
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < cotangent.dim(0); ++n) {
    float* picture = target + n * plan.source[1] * plan.source[2] * channels;
    for (int64_t i = 0; i < height * width; ++i) {
      const Tap& row = plan.rows[static_cast<size_t>(i / width)];
      const Tap& tap = plan.columns[static_cast<size_t>(i % width)];
      const T* pixel = source + (n * height * width + i) * channels;
      const auto give = [&](int64_t y, int64_t x, float weight) {
        if (weight != 0) accumulate(pixel, weight, picture + (y * plan.source[2] + x) * channels, channels);
      };
      give(row.first, tap.first, (1 - row.weight) * (1 - tap.weight));
      give(row.first, tap.second, (1 - row.weight) * tap.weight);
      give(row.second, tap.first, row.weight * (1 - tap.weight));
      give(row.second, tap.second, row.weight * tap.weight);
    }
  }
  return to(sums, cotangent.dtype());
}

void check_picture(const char* op, const Tensor& x) {
  if (x.rank() != 4 || x.count() == 0) fail(ErrorCode::internal, op, "a picture [N,H,W,C]", x.shape().text());
  if (x.dtype() != DType::f32 && x.dtype() != DType::bf16)
    fail(ErrorCode::internal, op, "f32 or bf16", name_of(x.dtype()));
}

Tensor apply(const Tensor& x, Resampling plan) {
  const Tensor dense = contiguous(x.detach());
  const Tensor out = x.dtype() == DType::f32 ? resample<float>(dense, plan) : resample<BFloat16>(dense, plan);
  return record(out, {x}, [plan = std::move(plan)](const Tensor& c) {
    const Tensor dense = contiguous(c);
    return std::vector{c.dtype() == DType::f32 ? scatter<float>(dense, plan) : scatter<BFloat16>(dense, plan)};
  });
}

}  // namespace

Tensor upsample_nearest(const Tensor& x, int64_t height, int64_t width) {
  check_picture("upsample_nearest", x);
  return apply(x, {nearest_taps(x.dim(1), height), nearest_taps(x.dim(2), width), x.shape()});
}

Tensor resize_bilinear(const Tensor& x, int64_t height, int64_t width) {
  check_picture("resize_bilinear", x);
  return apply(x, {bilinear_taps(x.dim(1), height), bilinear_taps(x.dim(2), width), x.shape()});
}

Tensor average_pool(const Tensor& x, int64_t size) {
  check_picture("average_pool", x);
  const int64_t height = x.dim(1) / size, width = x.dim(2) / size, channels = x.dim(3);
  const Tensor inside = slice(slice(x, 1, 0, height * size), 2, 0, width * size);
  const Tensor windows = reshape(inside, {x.dim(0), height, size, width, size, channels});
  return mean(windows, {2, 4});
}

}  // namespace heddle
