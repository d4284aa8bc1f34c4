// Loops over dense runs of f32 or bf16 as vectors of f32, the last one short. Compiled once per instruction set.
//   for_vectors(n, [&](int64_t i, auto part) HWY_ATTR { store(f(load(x + i, part)), y + i, part); });
#if defined(HEDDLE_MAP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_MAP_INL_H
#undef HEDDLE_MAP_INL_H
#else
#define HEDDLE_MAP_INL_H
#endif

#include <algorithm>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatsVec = hn::Vec<Floats>;
constexpr int64_t float_lanes = HWY_LANES(float);

struct Whole {};
struct Part {
  int64_t count;
};

HWY_INLINE FloatsVec load(const float* p, Whole) {
  return hn::LoadU(Floats(), p);
}
HWY_INLINE FloatsVec load(const BFloat16* p, Whole) {
  const hn::RebindToUnsigned<Floats> d32;
  const hn::Rebind<uint16_t, Floats> d16;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}
template <typename T>
HWY_INLINE FloatsVec load(const T* p, Part part) {
  T room[float_lanes] = {};
  std::memcpy(room, p, static_cast<size_t>(part.count) * sizeof(T));
  return load(room, Whole());
}

HWY_INLINE void store(FloatsVec v, float* p, Whole) {
  hn::StoreU(v, Floats(), p);
}
// Rounds to nearest even; NaN stays NaN.
HWY_INLINE void store(FloatsVec v, BFloat16* p, Whole) {
  const hn::RebindToUnsigned<Floats> d32;
  const hn::Rebind<uint16_t, Floats> d16;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(d32, 0x400000u));
  const auto kept = hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(v)), quiet, rounded);
  hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(kept)), d16, reinterpret_cast<uint16_t*>(p));
}
template <typename T>
HWY_INLINE void store(FloatsVec v, T* p, Part part) {
  T room[float_lanes];
  store(v, room, Whole());
  std::memcpy(p, room, static_cast<size_t>(part.count) * sizeof(T));
}

template <class Body>
HWY_INLINE void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + float_lanes <= n; i += float_lanes) body(i, Whole());
  if (i < n) body(i, Part{n - i});
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
