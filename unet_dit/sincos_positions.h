// Fixed positions of patches on a grid: sines and cosines of both coordinates (Vaswani et al. 2017, in two dimensions).
#pragma once

#include "kernels/core/tensor.h"

namespace heddle {

// A window of a grid of `extent` x `extent` patches, or of rows x columns where extent is 0. Coordinates are scaled so
// that the grid is `base` long.
struct PatchGrid {
  int64_t rows = 0, columns = 0;  // of the window, which lies in the middle
  int64_t extent = 0;
  int64_t base = 1;
};

// [1,rows*columns,width] f32; width is a multiple of 4. The first half is of the column, the second of the row; each
// half is sines, then cosines.
Tensor sincos_positions(const PatchGrid& grid, int64_t width);

}  // namespace heddle
