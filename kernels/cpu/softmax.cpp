// Softmax: three passes over each column, sums in double.
#include "kernels/cpu/softmax.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/float_type.h"

namespace heddle::cpu {
namespace {

// f(first element) for each of the outer * inner columns.
template <typename F>
void for_each_column(const Tensor& x, F f) {
  const int64_t length = x.dim(1), inner = x.dim(2);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < x.dim(0) * inner; ++n) f(n / inner * length * inner + n % inner);
}

}  // namespace

Tensor softmax_forward(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  const int64_t length = x.dim(1), step = x.dim(2);
  with_float_type(x.dtype(), "softmax", [&]<typename T>() {
    for_each_column(x, [&](int64_t first) {
      const T* in = x.data<T>() + first;
      T* out = y.fill_data<T>() + first;
      float top = -std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < length; ++i) top = std::fmax(top, static_cast<float>(in[i * step]));
      double total = 0;
      for (int64_t i = 0; i < length; ++i) total += std::exp(static_cast<float>(in[i * step]) - top);
      const float share = static_cast<float>(1.0 / total);
      for (int64_t i = 0; i < length; ++i) out[i * step] = T(std::exp(static_cast<float>(in[i * step]) - top) * share);
    });
  });
  return y;
}

Tensor softmax_backward(const Tensor& y, const Tensor& d_y) {
  Tensor d_x = Tensor::empty(y.shape(), y.dtype());
  const int64_t length = y.dim(1), step = y.dim(2);
  with_float_type(y.dtype(), "softmax", [&]<typename T>() {
    for_each_column(y, [&](int64_t first) {
      const T* p = y.data<T>() + first;
      const T* g = d_y.data<T>() + first;
      T* out = d_x.fill_data<T>() + first;
      double along = 0;
      for (int64_t i = 0; i < length; ++i)
        along += static_cast<double>(static_cast<float>(p[i * step])) * static_cast<float>(g[i * step]);
      for (int64_t i = 0; i < length; ++i) {
        out[i * step] =
            T(static_cast<float>(p[i * step]) * (static_cast<float>(g[i * step]) - static_cast<float>(along)));
      }
    });
  });
  return d_x;
}

}  // namespace heddle::cpu
