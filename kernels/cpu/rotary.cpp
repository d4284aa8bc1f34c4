// Rotary positions, a token at a time: its row of the tables serves all heads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotary.cpp"
#include "kernels/cpu/simd.h"
// After simd.h.
#include "kernels/cpu/float_type.h"
#include "kernels/cpu/map-inl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rotary.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace {
namespace HWY_NAMESPACE {
using namespace heddle::cpu::HWY_NAMESPACE;
using V = FloatsVec;

HWY_INLINE V pairs_swapped(V v) {
#if HWY_TARGET == HWY_SCALAR
  return v;
#else
  return hn::Reverse2(Floats(), v);
#endif
}

// y = x * cosine + swapped(x) * sine over the features of one head; the tables hold the sine's signs.
template <typename T>
HWY_INLINE void turn_head(const T* x, const float* cosine, const float* sine, V direction, int64_t n, T* y) {
  if constexpr (float_lanes > 1) {
    for_vectors(n, [&](int64_t i, auto part) HWY_ATTR {  // n and the vectors are even, so no pair is torn
      const V v = load(x + i, part), s = hn::Mul(direction, load(sine + i, part));
      store(hn::MulAdd(v, load(cosine + i, part), hn::Mul(pairs_swapped(v), s)), y + i, part);
    });
  } else {
    const float way = hn::GetLane(direction);
    for (int64_t i = 0; i < n; i += 2) {
      const float a = static_cast<float>(x[i]), b = static_cast<float>(x[i + 1]);
      y[i] = T(a * cosine[i] + b * sine[i] * way);
      y[i + 1] = T(b * cosine[i + 1] + a * sine[i + 1] * way);
    }
  }
}

// Tokens [begin, end) of all pictures.
void turn_tokens(const Tensor& x, const Rotary& at, Turn turn, Tensor& y, int64_t begin, int64_t end) {
  const int64_t tokens = x.dim(1), heads = x.dim(2), n = x.dim(3);
  const V direction = hn::Set(Floats(), turn == Turn::forward ? 1.0f : -1.0f);
  with_float_type(x.dtype(), "rotate", [&]<typename T>() HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / tokens, token = i % tokens;
      const T* from = x.data<T>() + row * x.stride(0) + token * x.stride(1);
      T* to = y.fill_data<T>() + i * heads * n;
      const float* cosine = at.cosine.data<float>() + token * n;
      const float* sine = at.sine.data<float>() + token * n;
      for (int64_t h = 0; h < heads; ++h) turn_head(from + h * x.stride(2), cosine, sine, direction, n, to + h * n);
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
HWY_EXPORT(turn_tokens);
}  // namespace

Tensor rotate(const Tensor& x, const Rotary& at, Turn turn) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  const auto run = HWY_DYNAMIC_DISPATCH(turn_tokens);
  for_pieces(x.dim(0) * x.dim(1), x.dim(2) * x.dim(3),
             [&](int64_t begin, int64_t end) { run(x, at, turn, y, begin, end); });
  return y;
}

}  // namespace heddle::cpu
#endif
