// The one entry point of all attention. Models call it; nothing else computes attention.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "attention_control/plan/bank.h"
#include "attention_control/plan/captures.h"
#include "attention_control/plan/lane.h"
#include "attention_control/plan/moment.h"
#include "attention_control/plan/site.h"
#include "kernels/core/tensor.h"
#include "kernels/ops/rotary.h"

namespace heddle {

class CompiledPlan;

// What is true of one evaluation of a network. A default one is a plain evaluation outside any run.
struct AttentionContext {
  Moment moment;
  std::vector<Lane> lanes;
  const CompiledPlan* plan = nullptr;
  Captures* captures = nullptr;
  Bank* bank = nullptr;
  int stop_after = -1;  // depth of the last site that is needed; StopEvaluation is thrown behind it
};

// Ends an evaluation whose captures are complete: nothing behind them can change a loss.
struct StopEvaluation {};

// q [B,Nq,H,D], k and v [B,Nk,H,D(v)] -> [B,Nq,H,Dv]; strided views of joined projections are welcome. Where `rotary`
// is given, queries and keys are the same tokens and are turned by their positions here, so that edits may ask for them
// before or after. Error(internal) when the tensors contradict what the site and its token layouts state.
Tensor attend(const AttentionSite& site, const SiteTokens& tokens, const Tensor& q, const Tensor& k, const Tensor& v,
              AttentionContext& context, const Rotary& rotary = {});

// False where a plan holds what the tokens of `segment`, one of the site's streams, would give: the network then leaves
// them out of q, k and v here, though `tokens` and `rotary` still name them, and has none of them behind.
bool needs(const AttentionSite& site, std::string_view segment, const AttentionContext& context);

// Around a whole attention layer: residual + compute(), or the residual + what a plan kept instead of computing.
// `compute(residual)` returns the layer's result added to the residual, or alone where that is undefined. A layer
// without a residual of its own (several streams share its result) gives none.
Tensor attend_layer(const AttentionSite& site, const Tensor& residual, AttentionContext& context,
                    const std::function<Tensor(const Tensor& residual)>& compute);

}  // namespace heddle
