// Softmax along the middle axis: rows along vectors where the axis is innermost, neighbouring columns along vectors
// else.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/softmax.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;
using V = FloatsVec;

HWY_INLINE V lowest() {
  return hn::Set(Floats(), -std::numeric_limits<float>::infinity());
}
HWY_INLINE V where(V v, V, Whole) {
  return v;
}
HWY_INLINE V where(V v, V otherwise, Part part) {
  return hn::IfThenElse(hn::FirstN(Floats(), static_cast<size_t>(part.count)), v, otherwise);
}

template <typename T>
void row(const T* x, int64_t n, T* y) {
  const Floats d;
  V top = lowest(), sum = hn::Zero(d);
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR { top = hn::Max(top, where(load(x + i, part), lowest(), part)); });
  top = hn::MaxOfLanes(d, top);
  const auto weight = [&](int64_t i, auto part) HWY_ATTR { return exp_below(d, hn::Sub(load(x + i, part), top)); };
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR { sum = hn::Add(sum, where(weight(i, part), hn::Zero(d), part)); });
  const V share = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum));
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR { store(hn::Mul(weight(i, part), share), y + i, part); });
}

template <typename T>
void row_back(const T* y, const T* d_y, int64_t n, T* d_x) {
  const Floats d;
  V sum = hn::Zero(d);
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR { sum = hn::MulAdd(load(y + i, part), load(d_y + i, part), sum); });
  const V along = hn::SumOfLanes(d, sum);
  for_vectors(n, [&](int64_t i, auto part) HWY_ATTR {
    store(hn::Mul(load(y + i, part), hn::Sub(load(d_y + i, part), along)), d_x + i, part);
  });
}

// `inner` columns side by side, `n` steps long.
template <typename T>
void columns(const T* x, int64_t n, int64_t inner, T* y) {
  const Floats d;
  for_vectors(inner, [&](int64_t c, auto part) HWY_ATTR {
    V top = lowest(), sum = hn::Zero(d);
    for (int64_t i = 0; i < n; ++i) top = hn::Max(top, load(x + i * inner + c, part));
    for (int64_t i = 0; i < n; ++i) sum = hn::Add(sum, exp_below(d, hn::Sub(load(x + i * inner + c, part), top)));
    const V share = hn::Div(hn::Set(d, 1.0f), sum);
    for (int64_t i = 0; i < n; ++i) {
      store(hn::Mul(exp_below(d, hn::Sub(load(x + i * inner + c, part), top)), share), y + i * inner + c, part);
    }
  });
}

template <typename T>
void columns_back(const T* y, const T* d_y, int64_t n, int64_t inner, T* d_x) {
  for_vectors(inner, [&](int64_t c, auto part) HWY_ATTR {
    V along = hn::Zero(Floats());
    for (int64_t i = 0; i < n; ++i)
      along = hn::MulAdd(load(y + i * inner + c, part), load(d_y + i * inner + c, part), along);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = i * inner + c;
      store(hn::Mul(load(y + at, part), hn::Sub(load(d_y + at, part), along)), d_x + at, part);
    }
  });
}

// The outer indices [begin, end) of [outer,length,inner].
void forward(const Tensor& x, Tensor& y, int64_t begin, int64_t end) {
  const int64_t n = x.dim(1), inner = x.dim(2);
  with_float_type(x.dtype(), "softmax", [&]<typename T>() HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const T* in = x.data<T>() + i * n * inner;
      T* out = y.fill_data<T>() + i * n * inner;
      inner == 1 ? row(in, n, out) : columns(in, n, inner, out);
    }
  });
}

void backward(const Tensor& y, const Tensor& d_y, Tensor& d_x, int64_t begin, int64_t end) {
  const int64_t n = y.dim(1), inner = y.dim(2);
  with_float_type(y.dtype(), "softmax", [&]<typename T>() HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const T *p = y.data<T>() + i * n * inner, *g = d_y.data<T>() + i * n * inner;
      T* out = d_x.fill_data<T>() + i * n * inner;
      inner == 1 ? row_back(p, g, n, out) : columns_back(p, g, n, inner, out);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {
HWY_EXPORT(forward);
HWY_EXPORT(backward);
}  // namespace

Tensor softmax_forward(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(forward);
  for_pieces(x.dim(0), x.dim(1) * x.dim(2), [&](int64_t begin, int64_t end) { run(x, y, begin, end); });
  return y;
}

Tensor softmax_backward(const Tensor& y, const Tensor& d_y) {
  Tensor d_x = Tensor::empty(y.shape(), y.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(backward);
  for_pieces(y.dim(0), y.dim(1) * y.dim(2), [&](int64_t begin, int64_t end) { run(y, d_y, d_x, begin, end); });
  return d_x;
}

}  // namespace heddle::cpu
#endif
