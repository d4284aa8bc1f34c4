// Masks over the picture as presets give them, and their resizing to the grids of sites and latents.
#pragma once

#include <string>
#include <vector>

#include "io/params.h"

namespace heddle {

// 1 inside, 0 outside; rows from the top.
struct Grid {
  int64_t height = 0, width = 0;
  std::vector<float> values;
};

// Nearest neighbour: source index floor(i * from / to), as torch's interpolate.
Grid resize_nearest(const Grid& grid, int64_t height, int64_t width);
// The largest of each 3 x 3 neighbourhood.
Grid grow(const Grid& grid);

// A picture file (white is inside), looked for beside the preset, too; or the rows of a small mask.
struct GridMask {
  std::string path, where;
  std::vector<std::vector<double>> rows;

  bool given() const { return !path.empty() || !rows.empty(); }
  Grid read() const;  // values 0 and 1. Error(input) for a file that is no picture
};

template <>
struct ParamType<GridMask> : PlainParam {
  static std::string name() { return "a picture file, or rows of 0 and 1"; }
  static void read(const YamlNode& node, const Limits&, GridMask& out);
  static YamlNode write(const GridMask& value);
};

}  // namespace heddle
