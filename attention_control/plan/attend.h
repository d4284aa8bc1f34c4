// The one entry point of all attention. Models call it; nothing else computes attention.
#pragma once

#include <string>
#include <vector>

#include "attention_control/plan/moment.h"
#include "attention_control/plan/site.h"
#include "kernels/core/tensor.h"

namespace heddle {

// A named part of the batch: rows [begin, end).
struct Lane {
  std::string name;  // "cond", "uncond", "source", "target", "perturbed"
  int64_t begin = 0, end = 0;
};

// What is true of one evaluation of a network. A default one is a plain evaluation outside any run.
struct AttentionContext {
  Moment moment;
  std::vector<Lane> lanes;
};

// q [B,Nq,H,D], k and v [B,Nk,H,D(v)] -> [B,Nq,H,Dv]; strided views of joined projections are welcome. Error(internal)
// when the tensors contradict what the site and its token layouts state.
Tensor attend(const AttentionSite& site, const SiteTokens& tokens, const Tensor& q, const Tensor& k, const Tensor& v,
              AttentionContext& context);

}  // namespace heddle
