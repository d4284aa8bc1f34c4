// Positions of patches as diffusers' get_2d_sincos_pos_embed makes them: coordinates in f32, angles in double.
#include "unet_dit/sincos_positions.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace heddle {
namespace {

// Sines and cosines of one axis: [count, width] for the coordinates first .. first + count - 1.
std::vector<float> axis_table(int64_t first, int64_t count, double scale, int64_t width) {
  std::vector<float> table;
  for (int64_t i = 0; i < count; ++i) {
    const float position = static_cast<float>(first + i) / static_cast<float>(scale);
    for (int64_t k = 0; k < width; ++k) {
      const auto frequency = static_cast<double>(k % (width / 2)) / (static_cast<double>(width) / 2);
      const double angle = static_cast<double>(position) / std::pow(10000.0, frequency);
      table.push_back(static_cast<float>(k < width / 2 ? std::sin(angle) : std::cos(angle)));
    }
  }
  return table;
}

}  // namespace

Tensor sincos_positions(const PatchGrid& grid, int64_t width) {
  const auto axis = [&](int64_t count) {
    const int64_t extent = grid.extent > 0 ? grid.extent : count;
    return axis_table((extent - count) / 2, count, static_cast<double>(extent) / static_cast<double>(grid.base),
                      width / 2);
  };
  const std::vector<float> of_row = axis(grid.rows), of_column = axis(grid.columns);
  Tensor out = Tensor::empty({1, grid.rows * grid.columns, width});
  float* to = out.fill_data<float>();
  for (int64_t r = 0; r < grid.rows; ++r) {
    for (int64_t c = 0; c < grid.columns; ++c) {
      to = std::copy_n(of_column.begin() + c * (width / 2), width / 2, to);
      to = std::copy_n(of_row.begin() + r * (width / 2), width / 2, to);
    }
  }
  return out;
}

}  // namespace heddle
