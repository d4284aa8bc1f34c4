// Lanes of the tasks in this room: which rows of a batch belong to whom.
#pragma once

#include <vector>

#include "attention_control/plan/attend.h"

namespace heddle {

// Classifier-free guidance evaluates the unconditional rows first, then the conditional ones, as diffusers does.
inline std::vector<Lane> guidance_lanes(int64_t pictures, bool guided) {
  if (!guided) return {{"cond", 0, pictures}};
  return {{"uncond", 0, pictures}, {"cond", pictures, 2 * pictures}};
}

}  // namespace heddle
