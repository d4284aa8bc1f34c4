// Conflicts: what the planner refuses, each message with both sides and the ways out.
#pragma once

#include <string>
#include <vector>

#include "attention_control/plan/builder.h"

namespace heddle {

// Where something is claimed, in words: "up.0.block1.depth0.self, lane target.cond, steps 4-9".
std::string place_text(const std::string& site, const std::string& lane, const Steps& steps, int total);

// Of edits that exclude each other, those that `over:` lets stand; Error(usage) where two remain.
// `what` is the claim ("take v", "reuse the layer").
std::vector<const Edit*> settle(std::vector<const Edit*> claims, const std::string& what, const std::string& place);

// Error(usage) for an edit or capture on a layer whose result another method reuses without absorbing it.
void refuse_on_reused(const Edit& reuse, const Edit& other, const std::string& place);

// Error(usage) where a branch that an edit reads is not `present` in the evaluations at `place`: a guiding pass has the
// conditional rows alone, and so may the steps from which guidance is dropped.
void check_read(const Edit& edit, const std::vector<Branch>& present, const std::string& place);

// Error(usage) where something is stored without an inversion to store it in, by two methods under one name, or
// recalled without having been stored in all of its steps.
void check_stored(const std::vector<Edit>& edits, const RunShape& run);

// Error(usage) where a lane that an edit reads is not part of the run.
void check_lanes(const Edit& edit, const RunShape& run, const std::vector<Branch>& branches);

}  // namespace heddle
