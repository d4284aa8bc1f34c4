// Guidance by losses on attention maps: the latents are moved by the gradient before a step is taken.
#pragma once

#include <functional>
#include <vector>

#include "pipelines/control.h"
#include "samplers/sampler.h"

namespace heddle {

// One evaluation of a loss and what it led to, for the plot of a run.
struct GuideRecord {
  std::string method;
  int step = 0, iteration = 0;
  int64_t picture = 0;  // row of the run
  double loss = 0;
  double moved = 0;  // length of the update that followed, of all guides together, as a share of the latents' norm
};

// The network's conditional rows for the given rows of the run (network input [r,C,h,w], their row numbers).
using EvaluateRows =
    std::function<void(const Tensor& input, const std::vector<int64_t>& rows, const Evaluation& at, AttentionContext&)>;

// x [n,C,h,w] moved by all guides that hold at this step; the rows of one picture are moved together where their
// members look at one another (`together`), else each row by itself. Appends to `records`.
Tensor guide_latents(Control& control, const Schedule& schedule, const Evaluation& at, const Tensor& x,
                     const EvaluateRows& evaluate, std::vector<GuideRecord>& records);

}  // namespace heddle
