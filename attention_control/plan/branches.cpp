// Guidance that is left out of some steps, or dropped for good.
#include "attention_control/plan/branches.h"

#include <algorithm>

namespace heddle {

std::vector<Branch> all_branches(const RunShape& run, const std::vector<PredictionTerm>& predictions) {
  std::vector<Branch> out{Branch::cond};
  if (run.guided) out.push_back(Branch::uncond);
  for (const PredictionTerm& term : predictions) out.push_back(term.branch);
  return out;
}

std::vector<Branch> branches_in(const RunShape& run, const std::vector<PredictionTerm>& predictions,
                                const std::optional<DropGuidance>& drop, const Steps& steps) {
  if (drop && drop->step < steps.end) return {drop->tail};
  std::vector<Branch> out = all_branches(run, predictions);
  const Steps& guided = run.guided_steps;
  if (steps.begin < guided.begin || std::min(steps.end, run.steps) > guided.end) std::erase(out, Branch::uncond);
  return out;
}

}  // namespace heddle
