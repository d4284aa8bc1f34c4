// Moment: where in a run an evaluation of the network stands. Passed down, never inferred from call counts.
#pragma once

#include <cstdint>

namespace heddle {

enum class Pass : uint8_t { denoise, invert, guide };

struct Moment {
  int step = 0;  // 0 .. steps-1
  int steps = 1;
  double sigma = 0;
  int stage = 0;  // evaluation within a step: 0 first, 1 second (Heun and other second-order solvers)
  Pass pass = Pass::denoise;
};

}  // namespace heddle
