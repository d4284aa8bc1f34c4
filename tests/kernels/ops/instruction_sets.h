// Runs a check once for each instruction set that was compiled and that this processor has.
#pragma once

#include <gtest/gtest.h>

#include <hwy/detect_targets.h>
#include <hwy/targets.h>

namespace heddle::testing {

template <typename F>
void on_each_instruction_set(const F& check) {
  for (const int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_STATIC_TARGET}) {
    if ((hwy::SupportedTargets() & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    check();
    hwy::SetSupportedTargetsForTest(0);
  }
}

}  // namespace heddle::testing
