// Normalisations over rows and over groups of channels; sums in double.
#include "kernels/cpu/norm.h"

#include <cmath>

#include "kernels/cpu/float_type.h"

namespace heddle::cpu {
namespace {

float sigmoid(float u) {
  return 1.0f / (1.0f + std::exp(-u));
}

struct Affine {
  const float* gamma;
  const float* beta;
  Affine(const Tensor& g, const Tensor& b)
      : gamma(g.defined() ? g.data<float>() : nullptr), beta(b.defined() ? b.data<float>() : nullptr) {}
  float scale(int64_t c) const { return gamma ? gamma[c] : 1.0f; }
  float shift(int64_t c) const { return beta ? beta[c] : 0.0f; }
};

// The elements of one normalised set: `width` neighbours at each of `length` positions, `stride` apart.
struct Patch {
  int64_t length, width, stride;
};

template <typename F>
void for_each(const Patch& patch, F f) {
  for (int64_t i = 0; i < patch.length; ++i) {
    for (int64_t c = 0; c < patch.width; ++c) f(i * patch.stride + c, c);
  }
}

template <typename T>
void statistics(const T* x, const Patch& patch, double eps, bool centred, float* stats) {
  double sum = 0, squares = 0;
  const double count = static_cast<double>(patch.length * patch.width);
  if (centred) for_each(patch, [&](int64_t at, int64_t) { sum += static_cast<float>(x[at]); });
  const double mean = sum / count;
  for_each(patch, [&](int64_t at, int64_t) {
    const double d = static_cast<float>(x[at]) - mean;
    squares += d * d;
  });
  stats[0] = static_cast<float>(mean);
  stats[1] = static_cast<float>(1.0 / std::sqrt(squares / count + eps));
}

template <typename T>
void normalise(const T* x, const Patch& patch, const float* stats, const Affine& affine, int64_t first, bool silu,
               T* y) {
  for_each(patch, [&](int64_t at, int64_t c) {
    const float u =
        (static_cast<float>(x[at]) - stats[0]) * stats[1] * affine.scale(first + c) + affine.shift(first + c);
    y[at] = T(silu ? u * sigmoid(u) : u);
  });
}

// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g the cotangent of xhat; mean(g) only where the mean was taken
// off.
template <typename T>
void backward(const T* x, const T* d_y, const Patch& patch, const float* stats, const Affine& affine, int64_t first,
              bool silu, bool centred, T* d_x) {
  const auto hat = [&](int64_t at) { return (static_cast<float>(x[at]) - stats[0]) * stats[1]; };
  const auto cotangent = [&](int64_t at, int64_t c) {
    const float g = static_cast<float>(d_y[at]) * affine.scale(first + c);
    if (!silu) return g;
    const float u = hat(at) * affine.scale(first + c) + affine.shift(first + c), s = sigmoid(u);
    return g * s * (1.0f + u * (1.0f - s));
  };
  double sum = 0, along = 0;
  for_each(patch, [&](int64_t at, int64_t c) {
    const double g = cotangent(at, c);
    sum += g;
    along += g * hat(at);
  });
  const double count = static_cast<double>(patch.length * patch.width);
  const float mean = centred ? static_cast<float>(sum / count) : 0.0f, slope = static_cast<float>(along / count);
  for_each(patch, [&](int64_t at, int64_t c) { d_x[at] = T(stats[1] * (cotangent(at, c) - mean - hat(at) * slope)); });
}

}  // namespace

Normalised group_norm_forward(const GroupNormCall& call) {
  const int64_t n = call.x.dim(0), channels = call.x.dim(2), groups = call.options.groups, width = channels / groups;
  const Patch patch{call.x.dim(1), width, channels};
  Normalised made{Tensor::empty(call.x.shape(), call.x.dtype()), Tensor::empty({n, groups, 2})};
  const Affine affine(call.gamma, call.beta);
  with_float_type(call.x.dtype(), "group_norm", [&]<typename T>() {
    const T* x = call.x.data<T>();
    T* y = made.y.fill_data<T>();
    float* stats = made.stats.fill_data<float>();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n * groups; ++i) {
      const int64_t first = i % groups * width, at = i / groups * patch.length * channels + first;
      statistics(x + at, patch, call.options.eps, true, stats + 2 * i);
      normalise(x + at, patch, stats + 2 * i, affine, first, call.options.then == Activation::silu, y + at);
    }
  });
  return made;
}

Tensor group_norm_backward(const GroupNormCall& call, const Tensor& stats, const Tensor& d_y) {
  const int64_t n = call.x.dim(0), channels = call.x.dim(2), groups = call.options.groups, width = channels / groups;
  const Patch patch{call.x.dim(1), width, channels};
  Tensor d_x = Tensor::empty(call.x.shape(), call.x.dtype());
  const Affine affine(call.gamma, call.beta);
  with_float_type(call.x.dtype(), "group_norm", [&]<typename T>() {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n * groups; ++i) {
      const int64_t first = i % groups * width, at = i / groups * patch.length * channels + first;
      backward(call.x.data<T>() + at, d_y.data<T>() + at, patch, stats.data<float>() + 2 * i, affine, first,
               call.options.then == Activation::silu, true, d_x.fill_data<T>() + at);
    }
  });
  return d_x;
}

Normalised row_norm_forward(const RowNormCall& call) {
  const int64_t channels = call.x.dim(-1), rows = call.x.count() / channels;
  const Patch patch{1, channels, channels};
  Normalised made{Tensor::empty(call.x.shape(), call.x.dtype()), Tensor::empty({rows, 2})};
  const Affine affine(call.gamma, call.beta);
  with_float_type(call.x.dtype(), "row_norm", [&]<typename T>() {
    const T* x = call.x.data<T>();
    T* y = made.y.fill_data<T>();
    float* stats = made.stats.fill_data<float>();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; ++i) {
      statistics(x + i * channels, patch, call.eps, call.centred, stats + 2 * i);
      normalise(x + i * channels, patch, stats + 2 * i, affine, 0, false, y + i * channels);
    }
  });
  return made;
}

Tensor row_norm_backward(const RowNormCall& call, const Tensor& stats, const Tensor& d_y) {
  const int64_t channels = call.x.dim(-1), rows = call.x.count() / channels;
  const Patch patch{1, channels, channels};
  Tensor d_x = Tensor::empty(call.x.shape(), call.x.dtype());
  const Affine affine(call.gamma, call.beta);
  with_float_type(call.x.dtype(), "row_norm", [&]<typename T>() {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; ++i) {
      backward(call.x.data<T>() + i * channels, d_y.data<T>() + i * channels, patch, stats.data<float>() + 2 * i,
               affine, 0, false, call.centred, d_x.fill_data<T>() + i * channels);
    }
  });
  return d_x;
}

}  // namespace heddle::cpu
