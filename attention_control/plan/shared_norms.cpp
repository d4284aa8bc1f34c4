// Who shares the statistics of group norms with whom.
#include "attention_control/plan/shared_norms.h"

#include <algorithm>
#include <numeric>

#include "attention_control/plan/attend.h"
#include "attention_control/plan/planner.h"
#include "kernels/core/error.h"

namespace heddle {

std::vector<int64_t> norm_partners(const AttentionContext& context, int64_t rows) {
  if (context.plan == nullptr || context.moment.pass == Pass::invert) return {};
  const std::vector<SharedNorms>& shared = context.plan->shared_norms();
  if (shared.empty()) return {};
  std::vector<int64_t> out(static_cast<size_t>(rows));
  std::iota(out.begin(), out.end(), 0);
  for (const Lane& lane : context.lanes) {
    const auto own = std::ranges::find(shared, lane.member, &SharedNorms::member);
    if (own == shared.end()) continue;
    const Lane* other = find_lane(context.lanes, {.branch = {}, .member = own->with}, lane);
    if (other == nullptr || other->rows() != lane.rows()) {
      fail(ErrorCode::internal, "group norms",
           "the other lane that " + lane.name + " shares statistics with, with as many rows",
           other == nullptr ? "no such lane in this evaluation" : std::to_string(other->rows()) + " rows");
    }
    std::iota(out.begin() + lane.begin, out.begin() + lane.end, other->begin);
  }
  return out;
}

void check_shared_norms(const std::vector<SharedNorms>& shared, const RunShape& run) {
  const auto exists = [&](int member) { return member >= 0 && member < static_cast<int>(run.members.size()); };
  for (size_t i = 0; i < shared.size(); ++i) {
    const SharedNorms& one = shared[i];
    if (run.group_norms == 0) {
      fail(ErrorCode::usage, one.where, "a network with group norms", "one whose norms are of each token by itself",
           "a UNet, or leaving it out");
    }
    if (!exists(one.member) || !exists(one.with)) {
      fail(ErrorCode::usage, one.where, "members of the run, 0 to " + std::to_string(run.members.size() - 1),
           std::to_string(one.member) + " and " + std::to_string(one.with));
    }
    for (size_t j = 0; j < i; ++j) {
      if (shared[j].member != one.member) continue;
      fail(ErrorCode::usage, "plan",
           "one method to share the group norms of " + run.members[static_cast<size_t>(one.member)].name,
           shared[j].method + " (" + shared[j].where + ") and " + one.method + " (" + one.where + ")", "one of them");
    }
  }
}

}  // namespace heddle
