// Hooks: what a method does outside attention, beside its edits: losses whose gradient moves the latents, and its turns
// around a solver's step.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "attention_control/plan/captures.h"
#include "attention_control/plan/moment.h"
#include "kernels/core/tensor.h"

namespace heddle {

// What becomes of one evaluation of a loss.
struct Verdict {
  bool update = true;  // move the latents by this gradient
  bool again = false;  // then evaluate anew at the same step
};

// A loss on captured maps. In every step of `steps` the conditional rows are evaluated with a gradient to the latents
// z, and z <- z - length dL/dz; losses of several methods add, weighted by their lengths, into one backward pass.
struct Guide {
  std::string method;
  Steps steps;
  std::function<Tensor(const Captures&, const Moment&)> loss;  // [] f32
  std::function<double(int step)> length;
  std::function<Verdict(int step, int iteration, double loss)> decide;  // empty: one update a step
};

// The state between steps: latents of all members, member after member, [M*n,C,h,w], in the solver's scale.
struct StepState {
  int step = 0, steps = 1;
  Tensor latents;
  int members = 1;
};

struct Hooks {
  std::vector<Guide> guides;
  std::vector<std::function<void(const Moment&)>> before_step;
  std::vector<std::function<void(const Captures&, const Moment&, const std::vector<Lane>&)>> after_evaluation;
  std::vector<std::function<Tensor(const StepState&)>> after_step;
};

// prediction + scale (cond - other), for a lane that a method adds beside cond and uncond.
struct PredictionTerm {
  std::string method;
  Branch branch = Branch::perturbed;
  std::function<double(int step, double timestep)> scale;
};

// From `step` on only one branch is evaluated and its prediction is used as it is.
struct DropGuidance {
  std::string method;
  int step = 0;
  Branch tail = Branch::uncond;
};

}  // namespace heddle
