// Layer and RMS normalisation: a row stays in the first-level cache between its sums and its map.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_norm.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include <cmath>

#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;
using V = FloatsVec;

HWY_INLINE V only(V v, Whole) {
  return v;
}
HWY_INLINE V only(V v, Part part) {
  return hn::IfThenElseZero(hn::FirstN(Floats(), static_cast<size_t>(part.count)), v);
}

HWY_INLINE float total(V v) {
  return hn::GetLane(hn::SumOfLanes(Floats(), v));
}

template <class F>
HWY_INLINE float sum_over(int64_t n, const F& term) {
  V sum = hn::Zero(Floats());
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR { sum = hn::Add(sum, only(term(c, part), part)); });
  return total(sum);
}

template <class Size>
HWY_INLINE V weight_at(const float* w, float otherwise, int64_t c, Size part) {
  return w ? load(w + c, part) : hn::Set(Floats(), otherwise);
}

// The weights of one row.
struct Weights {
  const float* gamma;
  const float* beta;
  Weights(const RowNormCall& call, int64_t row) : gamma(at(call, call.gamma, row)), beta(at(call, call.beta, row)) {}

 private:
  static const float* at(const RowNormCall& call, const Tensor& w, int64_t row) {
    if (!w.defined()) return nullptr;
    const int64_t share = call.x.count() / w.count();  // rows that one vector serves
    return w.data<float>() + row / share * call.x.dim(-1);
  }
};

template <typename T>
HWY_INLINE const T* row_of(const Tensor& x, int64_t row) {
  return x.data<T>() + row / x.dim(1) * x.stride(0) + row % x.dim(1) * x.stride(1);
}

template <typename T>
void normalise(const RowNormCall& call, int64_t row, float* stats, T* y) {
  const Weights w(call, row);
  const T* x = row_of<T>(call.x, row);
  const int64_t n = call.x.dim(-1);
  const float count = static_cast<float>(n);
  const float mean =
      call.centred ? sum_over(n, [&](int64_t c, auto part) HWY_ATTR { return load(x + c, part); }) / count : 0;
  const V centre = hn::Set(Floats(), mean);
  const float squares = sum_over(n, [&](int64_t c, auto part) HWY_ATTR {
    const V d = hn::Sub(load(x + c, part), centre);
    return hn::Mul(d, d);
  });
  stats[0] = mean;
  stats[1] = 1.0f / std::sqrt(squares / count + static_cast<float>(call.eps));
  const V inverse = hn::Set(Floats(), stats[1]);
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    const V hat = hn::Mul(hn::Sub(load(x + c, part), centre), inverse);
    store(hn::MulAdd(hat, weight_at(w.gamma, 1, c, part), weight_at(w.beta, 0, c, part)), y + c, part);
  });
}

// dx = inverse * (g - mean(g) - hat * mean(g * hat)), g = dy * gamma; the mean of g only where the mean was taken off.
template <typename T>
void normalise_back(const RowNormCall& call, int64_t row, const T* d_y, const float* stats, T* d_x) {
  const Weights w(call, row);
  const T* x = row_of<T>(call.x, row);
  const int64_t n = call.x.dim(-1);
  const V centre = hn::Set(Floats(), stats[0]), inverse = hn::Set(Floats(), stats[1]);
  const auto hat = [&](int64_t c, auto part) HWY_ATTR { return hn::Mul(hn::Sub(load(x + c, part), centre), inverse); };
  const auto g = [&](int64_t c, auto part)
                     HWY_ATTR { return hn::Mul(load(d_y + c, part), weight_at(w.gamma, 1, c, part)); };
  const float count = static_cast<float>(n);
  const float level = call.centred ? sum_over(n, g) / count : 0;
  const float along =
      sum_over(n, [&](int64_t c, auto part) HWY_ATTR { return hn::Mul(g(c, part), hat(c, part)); }) / count;
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    const V rest = hn::Sub(g(c, part), hn::Set(Floats(), level));
    store(hn::Mul(inverse, hn::NegMulAdd(hat(c, part), hn::Set(Floats(), along), rest)), d_x + c, part);
  });
}

void forward_rows(const RowNormCall& call, Normalised& made, int64_t begin, int64_t end) {
  const int64_t n = call.x.dim(-1);
  with_float_type(call.x.dtype(), "row_norm", [&]<typename T>() HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      normalise(call, i, made.stats.fill_data<float>() + 2 * i, made.y.fill_data<T>() + i * n);
    }
  });
}

void backward_rows(const RowNormCall& call, const Tensor& stats, const Tensor& d_y, Tensor& d_x, int64_t begin,
                   int64_t end) {
  const int64_t n = call.x.dim(-1);
  with_float_type(call.x.dtype(), "row_norm", [&]<typename T>() HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      normalise_back(call, i, d_y.data<T>() + i * n, stats.data<float>() + 2 * i, d_x.fill_data<T>() + i * n);
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
HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);
}  // namespace

Normalised row_norm_forward(const RowNormCall& call) {
  const int64_t channels = call.x.dim(-1), rows = call.x.count() / channels;
  Normalised made{Tensor::empty(call.x.shape(), call.x.dtype()), Tensor::empty({rows, 2})};
  const auto run = HWY_DYNAMIC_DISPATCH(forward_rows);
  for_pieces(rows, channels, [&](int64_t begin, int64_t end) { run(call, made, begin, end); });
  return made;
}

Tensor row_norm_backward(const RowNormCall& call, const Tensor& stats, const Tensor& d_y) {
  const int64_t channels = call.x.dim(-1), rows = call.x.count() / channels;
  Tensor d_x = Tensor::empty(call.x.shape(), call.x.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(backward_rows);
  for_pieces(rows, channels, [&](int64_t begin, int64_t end) { run(call, stats, d_y, d_x, begin, end); });
  return d_x;
}

}  // namespace heddle::cpu
#endif
