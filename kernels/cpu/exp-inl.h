// Vector exponentials. Compiled once per instruction set.
#if defined(HEDDLE_EXP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_EXP_INL_H
#undef HEDDLE_EXP_INL_H
#else
#define HEDDLE_EXP_INL_H
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 2^x for x <= 127, exactly 1 at 0 and exactly 0 below -126: relative error 2.4e-7. The whole part of x is found by
// adding 1.5 * 2^23, which leaves it in the low bits of the sum, whence it is shifted into the exponent.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2_of(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 12582912.0f);
  const V shifted = hn::Add(x, magic);
  const V f = hn::Sub(x, hn::Sub(shifted, magic));  // [-0.5, 0.5]
  V p = hn::MulAdd(f, hn::Set(d, 0.0013264727f), hn::Set(d, 0.009671513f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.055507336f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.24022242f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.693147f));
  p = hn::MulAdd(f, p, hn::Set(d, 1.0f));
  const auto scaled = hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -126.0f)), hn::BitCast(d, scaled));
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
