// Finding lanes.
#include "attention_control/plan/lane.h"

namespace heddle {

std::string name_of(Branch branch) {
  return branch == Branch::cond ? "cond" : branch == Branch::uncond ? "uncond" : "perturbed";
}

const Lane* find_lane(const std::vector<Lane>& lanes, const LaneRef& ref, const Lane& reader) {
  for (const Lane& lane : lanes) {
    if (lane.branch == ref.branch.value_or(reader.branch) && lane.member == ref.member.value_or(reader.member))
      return &lane;
  }
  return nullptr;
}

}  // namespace heddle
