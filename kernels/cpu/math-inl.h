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
template <class D, class V>
HWY_INLINE V exp2_of(D d, V x) {
  constexpr float c[] = {1.0f, 0.693147f, 0.24022242f, 0.055507336f, 0.009671513f, 0.0013264727f};  // [-0.5, 0.5]
  const V shifted = hn::Add(x, hn::Set(d, whole_part));
  const V f = hn::Sub(x, hn::Sub(shifted, hn::Set(d, whole_part)));
  const V p = times_power(d, polynomial(d, f, c), shifted);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), p);  // NaN stays
}

// 1 / x, rounded or within 1.2e-7: where the processor's estimate has 14 bits, one Newton step is much cheaper than
// dividing.
template <class D, class V>
HWY_INLINE V reciprocal_of(D d, V x) {
#if HWY_TARGET <= HWY_AVX3
  const V guess = hn::ApproximateReciprocal(x);
  return hn::Mul(guess, hn::NegMulAdd(x, guess, hn::Set(d, 2.0f)));
#else
  return hn::Div(hn::Set(d, 1.0f), x);
#endif
}

// e^x for -87.3 <= x <= 88; relative error 2e-7.
template <class D, class V>
HWY_INLINE V exp_within(D d, V x) {
  constexpr float c[] = {1.f,           1.f,           0.4999999403f, 0.1666643172f,
                         0.0416680015f, 0.0083741554f, 0.0013843653f};  // |r| <= ln(2) / 2
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), hn::Set(d, whole_part));
  const V n = hn::Sub(shifted, hn::Set(d, whole_part));
  // ln 2 in two parts: the first has trailing zeros, so that n times it is exact.
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  return times_power(d, polynomial(d, r, c), shifted);
}

// e^x for x <= 88: exactly 0 below -87.3.
template <class D, class V>
HWY_INLINE V exp_below(D d, V x) {
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), exp_within(d, x));
}

// e^x: exactly 0 below -87.3, infinite above 88.7; NaN stays.
template <class D, class V>
HWY_INLINE V exp_of(D d, V x) {
  // Above 88 the power of two no longer fits: e^x = e^(x - 64 ln 2) * 2^64, which overflows where it must.
  const auto large = hn::Gt(x, hn::Set(d, 88.0f));
  const V moved = hn::Sub(hn::Min(x, hn::Set(d, 130.0f)), hn::IfThenElseZero(large, hn::Set(d, 44.3614196f)));
  const V kept = exp_below(d, moved);
  const V value = hn::IfThenElse(large, hn::Mul(kept, hn::Set(d, 18446744073709551616.0f)), kept);
  return hn::IfThenElse(hn::IsNaN(x), x, value);
}

// Exactly 0 below -87. Operands stand so that NaN comes through the clamp.
template <class D, class V>
HWY_INLINE V sigmoid_of(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V bounded = hn::Max(hn::Set(d, -87.0f), hn::Min(hn::Set(d, 87.0f), hn::Neg(x)));
  const V value = reciprocal_of(d, hn::Add(one, exp_within(d, bounded)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.0f)), value);
}

// Phi(x), the normal distribution, and phi(x), its density. The tail is e^(-x^2/2) times a polynomial in
// 1 / (1 + 0.3 |x| / sqrt(2)), so it keeps its relative accuracy (6e-7) down to 1e-38.
template <class V>
struct Normal {
  V distribution, density;
};
template <class D, class V>
HWY_INLINE Normal<V> normal_of(D d, V x) {
  constexpr float c[] = {0.08459480851888657f,  0.08534596860408783f,  0.07424122095108032f,
                         0.10721811652183533f,  -0.04681555926799774f, 0.2731974422931671f,
                         -0.25561314821243286f, 0.24254818260669708f,  -0.06471703201532364f};  // |x| < 13
  const V one = hn::Set(d, 1.0f);
  const V size = hn::Abs(x);
  const V bell = exp_within(d, hn::Max(hn::Set(d, -87.0f), hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f))));
  const V t = reciprocal_of(d, hn::MulAdd(size, hn::Set(d, 0.212132034f), one));
  const V tail = hn::Mul(bell, hn::Mul(t, polynomial(d, t, c)));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)), hn::Mul(bell, hn::Set(d, 0.398942280f))};
}

// A polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel.
template <class D, class V>
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
