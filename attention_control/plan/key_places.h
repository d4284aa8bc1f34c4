// Where keys that come from another lane stand in networks with rotary positions.
#pragma once

#include <string>

#include "attention_control/plan/site.h"
#include "kernels/ops/rotary.h"

namespace heddle {

// own: where they stand there, so that queries prefer the same place. centre: all at the middle token of their grid
// (rows / 2, columns / 2), so that no place is nearer than another. beside: moved to the right by the grid's width.
enum class KeyPlaces : uint8_t { own, centre, beside };

// Tables for the tokens of one segment of `layout`, from those of all its tokens. A grid of one column has no step to
// the right to go by: beside leaves it where it is.
Rotary placed(const Rotary& all, const TokenLayout& layout, const std::string& segment, KeyPlaces places);
// All tables with those in the segment's place.
Rotary with_placed(const Rotary& all, const TokenLayout& layout, const std::string& segment, KeyPlaces places);

}  // namespace heddle
