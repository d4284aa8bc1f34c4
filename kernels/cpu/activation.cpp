// Pointwise nonlinearities and their slopes.
#include "kernels/cpu/activation.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/float_type.h"

namespace heddle::cpu {
namespace {

float sigmoid(float x) {
  return 1.0f / (1.0f + std::exp(-x));
}
float normal_cdf(float x) {
  return 0.5f * std::erfc(-x * static_cast<float>(M_SQRT1_2));
}
float normal_pdf(float x) {
  return static_cast<float>(0.5 * M_SQRT1_2 * M_2_SQRTPI) * std::exp(-0.5f * x * x);
}

constexpr float tanh_scale = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float tanh_cubic = 0.044715f;

float value(float x, Activation kind) {
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::gelu_tanh:
      return 0.5f * x * (1.0f + std::tanh(tanh_scale * (x + tanh_cubic * x * x * x)));
    case Activation::quick_gelu:
      return x * sigmoid(1.702f * x);
    case Activation::relu:
      return std::max(x, 0.0f);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return std::tanh(x);
  }
  return x;
}

float slope(float x, Activation kind) {
  switch (kind) {
    case Activation::none:
      return 1.0f;
    case Activation::silu: {
      const float s = sigmoid(x);
      return s * (1.0f + x * (1.0f - s));
    }
    case Activation::gelu:
      return normal_cdf(x) + x * normal_pdf(x);
    case Activation::gelu_tanh: {
      const float t = std::tanh(tanh_scale * (x + tanh_cubic * x * x * x));
      return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * tanh_scale * (1.0f + 3.0f * tanh_cubic * x * x);
    }
    case Activation::quick_gelu: {
      const float s = sigmoid(1.702f * x);
      return s * (1.0f + 1.702f * x * (1.0f - s));
    }
    case Activation::relu:
      return x > 0.0f ? 1.0f : 0.0f;
    case Activation::sigmoid: {
      const float s = sigmoid(x);
      return s * (1.0f - s);
    }
    case Activation::tanh: {
      const float t = std::tanh(x);
      return 1.0f - t * t;
    }
  }
  return 1.0f;
}

}  // namespace

Tensor activation_forward(const Tensor& x, Activation kind) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  with_float_type(x.dtype(), "activate", [&]<typename T>() {
    const T* in = x.data<T>();
    T* out = y.fill_data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x.count(); ++i) out[i] = T(value(static_cast<float>(in[i]), kind));
  });
  return y;
}

Tensor activation_backward(const Tensor& x, const Tensor& d_y, Activation kind) {
  Tensor d_x = Tensor::empty(x.shape(), x.dtype());
  with_float_type(x.dtype(), "activate", [&]<typename T>() {
    const T *in = x.data<T>(), *g = d_y.data<T>();
    T* out = d_x.fill_data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x.count(); ++i)
      out[i] = T(static_cast<float>(g[i]) * slope(static_cast<float>(in[i]), kind));
  });
  return d_x;
}

Tensor geglu_forward(const Tensor& x) {
  const int64_t rows = x.dim(0), n = x.dim(1) / 2;
  Tensor y = Tensor::empty({rows, n}, x.dtype());
  with_float_type(x.dtype(), "geglu", [&]<typename T>() {
    const T* in = x.data<T>();
    T* out = y.fill_data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; ++i) {
      const T *a = in + i * 2 * n, *b = a + n;
      for (int64_t c = 0; c < n; ++c)
        out[i * n + c] = T(static_cast<float>(a[c]) * value(static_cast<float>(b[c]), Activation::gelu));
    }
  });
  return y;
}

Tensor geglu_backward(const Tensor& x, const Tensor& d_y) {
  const int64_t rows = x.dim(0), n = x.dim(1) / 2;
  Tensor d_x = Tensor::empty(x.shape(), x.dtype());
  with_float_type(x.dtype(), "geglu", [&]<typename T>() {
    const T *in = x.data<T>(), *g = d_y.data<T>();
    T* out = d_x.fill_data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t c = 0; c < n; ++c) {
        const float a = static_cast<float>(in[i * 2 * n + c]), b = static_cast<float>(in[i * 2 * n + n + c]);
        const float d = static_cast<float>(g[i * n + c]);
        out[i * 2 * n + c] = T(d * value(b, Activation::gelu));
        out[i * 2 * n + n + c] = T(d * a * slope(b, Activation::gelu));
      }
    }
  });
  return d_x;
}

}  // namespace heddle::cpu
