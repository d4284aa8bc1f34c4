// Highway set up for this room: compiled for each instruction set, chosen when the program runs. A kernel file begins
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels/cpu/<file>.cpp"
//   #include "kernels/cpu/simd.h"      (brings foreach_target.h and highway.h)
// and keeps what is vectorised between HWY_BEFORE_NAMESPACE() and HWY_AFTER_NAMESPACE(), in HWY_NAMESPACE.
// Without an include guard for the part that each target needs anew.
#ifndef HWY_DISABLED_TARGETS
// Scalable vectors cannot be held in arrays, which the register tiles are; the others only add to the build time.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SSSE3)
#endif
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
