// Lanes of the tasks in this room: which rows of a batch belong to whom.
#pragma once

#include <vector>

#include "attention_control/plan/builder.h"

namespace heddle {

// One branch after the other, in each the members, in each its pictures: the unconditional rows first, then the
// conditional ones, as diffusers does, then those that methods add.
inline std::vector<Lane> branch_lanes(const std::vector<Branch>& branches, const std::vector<Member>& members,
                                      int64_t pictures) {
  std::vector<Lane> lanes;
  int64_t row = 0;
  for (const Branch branch : branches) {
    for (size_t m = 0; m < members.size(); ++m, row += pictures) {
      const std::string& name = members[m].name;
      lanes.push_back(
          {(name.empty() ? "" : name + ".") + name_of(branch), branch, static_cast<int>(m), row, row + pictures});
    }
  }
  return lanes;
}

}  // namespace heddle
