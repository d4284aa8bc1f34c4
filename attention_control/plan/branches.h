// Which branches of guidance a run evaluates, and when.
#pragma once

#include <optional>
#include <vector>

#include "attention_control/plan/builder.h"

namespace heddle {

// Those of some step at least: cond, uncond where the run is guided, and what methods add.
std::vector<Branch> all_branches(const RunShape& run, const std::vector<PredictionTerm>& predictions);

// Those of each of these denoising steps.
std::vector<Branch> branches_in(const RunShape& run, const std::vector<PredictionTerm>& predictions,
                                const std::optional<DropGuidance>& drop, const Steps& steps);

}  // namespace heddle
