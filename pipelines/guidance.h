// Classifier-free guidance (Ho & Salimans 2022), its rescaling (Lin et al. 2023, section 3.4) and its limited interval
// (Kynkaanniemi et al. 2024).
#pragma once

#include <cstdint>
#include <vector>

#include "attention_control/plan/moment.h"
#include "kernels/core/tensor.h"

namespace heddle {

// Skip-layer guidance, as StableDiffusion3Pipeline has it: + scale (cond - what cond would be without some blocks).
struct SkipLayers {
  std::vector<int64_t> blocks;  // none: no such guidance
  double scale = 0;
  double start = 0, stop = 1;  // shares of the steps, both ends left out

  bool hold_at(int step, int steps) const { return !blocks.empty() && step > steps * start && step < steps * stop; }
};

struct Guidance {
  double scale = 1;    // of cond - uncond; at 1 and below only the conditional rows are evaluated
  double rescale = 0;  // phi: share of the result brought back to the conditional prediction's deviation
  SkipLayers skip = {};
  Steps steps = {};  // those that are guided
};

// What the network says of each branch, [n,C,H,W] each.
struct BranchPredictions {
  Tensor cond;
  Tensor uncond = {};  // undefined: no classifier-free guidance
  Tensor more = {};    // what methods add to the guided prediction, undefined for nothing
};

Tensor guide(const BranchPredictions& predictions, const Guidance& guidance);

}  // namespace heddle
