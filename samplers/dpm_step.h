// One exponential step of DPM-Solver and kin, shared by its multistep and singlestep methods.
#pragma once

#include "samplers/schedule.h"

namespace heddle {

// next = x * state + d0 * answer + d1 * (its first divided difference) + d2 * (half its second) + fresh * normal.
struct DpmStep {
  double x, d0, d1, d2, fresh;
};

// From level `here` to `next`, h further in half-log-SNR (Lu et al. 2022, "DPM-Solver" and "DPM-Solver++", appendix).
DpmStep dpm_step(const SchedulerConfig& config, Level here, Level next, double h, int order);

// What the methods extrapolate: the clean estimate or the noise.
Tensor dpm_answer(const SchedulerConfig& config, const Tensor& output, const Tensor& clean, const Tensor& x,
                  Level level);

}  // namespace heddle
