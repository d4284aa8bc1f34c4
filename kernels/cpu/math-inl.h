// Vector exponentials, the normal distribution and tanh in f32. Compiled once per instruction set.
// The coefficients are minimax fits of the relative error over the stated ranges.
#if defined(HEDDLE_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_MATH_INL_H
#undef HEDDLE_MATH_INL_H
#else
#define HEDDLE_MATH_INL_H
#endif

#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// c[0] + x c[1] + x^2 c[2] + ...
template <class D, class V, size_t N>
HWY_INLINE V polynomial(D d, V x, const float (&c)[N]) {
  V p = hn::Set(d, c[N - 1]);
#pragma GCC unroll 16
  for (int i = static_cast<int>(N) - 2; i >= 0; --i) p = hn::MulAdd(p, x, hn::Set(d, c[i]));
  return p;
}

// The whole part of x is found by adding 1.5 * 2^23, which leaves it in the low bits of the sum.
constexpr float whole_part = 12582912.0f;

// p * 2^n, with n in the low bits of `shifted` = n + whole_part.
template <class D, class V>
HWY_INLINE V times_power(D d, V p, V shifted) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// 2^x for x <= 127, exactly 1 at 0 and exactly 0 below -126; relative error 1.7e-7. For attention's weights.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2_of(D d, V x) {
  constexpr float c[] = {1.0f, 0.693147f, 0.24022242f, 0.055507336f, 0.009671513f, 0.0013264727f};  // [-0.5, 0.5]
  const V shifted = hn::Add(x, hn::Set(d, whole_part));
  const V f = hn::Sub(x, hn::Sub(shifted, hn::Set(d, whole_part)));
  const V p = times_power(d, polynomial(d, f, c), shifted);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), p);  // NaN stays
}

// e^x: 0 below -87.3, infinite above 88; relative error 2e-7.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_of(D d, V x) {
  constexpr float c[] = {1.0f,         0.6931472f,    0.24022648f,   0.055503324f,
                         0.009618437f, 0.0013398874f, 0.00015353362f};  // of 2^f, f in [-0.5, 0.5]
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), hn::Set(d, whole_part));
  const V n = hn::Sub(shifted, hn::Set(d, whole_part));
  // ln 2 in two parts: the first has trailing zeros, so that n times it is exact.
  V rest = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  rest = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), rest);
  const V p = times_power(d, polynomial(d, hn::Mul(rest, hn::Set(d, 1.44269504f)), c), shifted);
  const V infinite = hn::Set(d, std::numeric_limits<float>::infinity());
  const V kept = hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -87.3f)), p);
  const V value = hn::IfThenElse(hn::Gt(x, hn::Set(d, 88.0f)), infinite, kept);
  return hn::IfThenElse(hn::IsNaN(x), x, value);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid_of(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, exp_of(d, hn::Neg(x))));
}

// Phi(x), the normal distribution, and phi(x), its density. The tail is e^(-x^2/2) times a polynomial in
// 1 / (1 + 0.3 |x| / sqrt(2)), so it keeps its relative accuracy (5e-7) as it falls off.
template <class V>
struct Normal {
  V distribution, density;
};
template <class D, class V = hn::Vec<D>>
HWY_INLINE Normal<V> normal_of(D d, V x) {
  constexpr float c[] = {0.08459480851888657f,  0.08534596860408783f,  0.07424122095108032f,
                         0.10721811652183533f,  -0.04681555926799774f, 0.2731974422931671f,
                         -0.25561314821243286f, 0.24254818260669708f,  -0.06471703201532364f};  // |x| < 13
  const V one = hn::Set(d, 1.0f);
  const V size = hn::Abs(x);
  const V bell = exp_of(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  const V t = hn::Div(one, hn::MulAdd(size, hn::Set(d, 0.212132034f), one));
  const V tail = hn::Mul(bell, hn::Mul(t, polynomial(d, t, c)));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)), hn::Mul(bell, hn::Set(d, 0.398942280f))};
}

// A polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_of(D d, V x) {
  constexpr float c[] = {-0.3333328068256378f, 0.13331441581249237f, -0.05373971164226532f, 0.020639080554246902f,
                         -0.005704979412257671f};  // of tanh(x) / x - 1 in x^2, |x| < 0.625
  const V one = hn::Set(d, 1.0f);
  const V square = hn::Mul(x, x);
  const V near = hn::MulAdd(hn::Mul(x, square), polynomial(d, square, c), x);
  const V far = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(one, exp_of(d, hn::Add(x, x)))));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, 0.625f)), near, far);
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
