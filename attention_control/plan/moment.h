// Moment: where in a run an evaluation of the network stands. Passed down, never inferred from call counts.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>

namespace heddle {

// denoise: a solver's step. invert: the same, towards noise. guide: the conditional rows alone, for a loss.
enum class Pass : uint8_t { denoise, invert, guide };

struct Moment {
  int step = 0;  // 0 .. steps-1
  int steps = 1;
  double sigma = 0;
  int stage = 0;  // evaluation within a step: 0 at its start, 1 at its middle or other end
  Pass pass = Pass::denoise;
  bool begins_step = true;  // the first evaluation of its step; FireFlow's steps but the first begin at stage 1
};

// Steps [begin, end) of a run.
struct Steps {
  int begin = 0, end = std::numeric_limits<int>::max();
  bool contains(int step) const { return begin <= step && step < end; }
  bool empty() const { return begin >= end; }
  bool operator==(const Steps&) const = default;
};

class Passes {
 public:
  constexpr Passes(std::initializer_list<Pass> passes) {
    for (Pass p : passes) bits_ |= 1u << static_cast<unsigned>(p);
  }
  constexpr bool contains(Pass p) const { return (bits_ >> static_cast<unsigned>(p)) & 1u; }

 private:
  unsigned bits_ = 0;
};

}  // namespace heddle
