// Masks from pictures and presets.
#include "attention_control/plugins/grid_mask.h"

#include <algorithm>

#include "io/image.h"
#include "io/preset_file.h"

namespace heddle {

Grid resize_nearest(const Grid& grid, int64_t height, int64_t width) {
  Grid out{height, width, {}};
  out.values.reserve(static_cast<size_t>(height * width));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x)
      out.values.push_back(
          grid.values[static_cast<size_t>(y * grid.height / height * grid.width + x * grid.width / width)]);
  }
  return out;
}

Grid grow(const Grid& grid) {
  Grid out = grid;
  for (int64_t y = 0; y < grid.height; ++y) {
    for (int64_t x = 0; x < grid.width; ++x) {
      float& top = out.values[static_cast<size_t>(y * grid.width + x)];
      for (int64_t v = std::max<int64_t>(y - 1, 0); v < std::min(y + 2, grid.height); ++v) {
        for (int64_t u = std::max<int64_t>(x - 1, 0); u < std::min(x + 2, grid.width); ++u)
          top = std::max(top, grid.values[static_cast<size_t>(v * grid.width + u)]);
      }
    }
  }
  return out;
}

Grid GridMask::read() const {
  Grid out;
  if (path.empty()) {
    out.height = static_cast<int64_t>(rows.size());
    out.width = static_cast<int64_t>(rows[0].size());
    for (const std::vector<double>& row : rows) {
      for (const double v : row) out.values.push_back(v > 0.5 ? 1.0f : 0.0f);
    }
    return out;
  }
  const Image image = read_image(find_beside(path, file_of(where)), Channels::grey);
  out.height = image.height, out.width = image.width;
  for (const uint8_t v : image.pixels) out.values.push_back(v >= 128 ? 1.0f : 0.0f);
  return out;
}

void ParamType<GridMask>::read(const YamlNode& node, const Limits&, GridMask& out) {
  out = {};
  out.where = node.where;
  if (node.kind == YamlNode::Kind::scalar && !node.text.empty()) {
    out.path = node.text;
    return;
  }
  if (node.kind != YamlNode::Kind::list || node.items.empty()) fail_yaml(node, name());
  ParamType<std::vector<std::vector<double>>>::read(node, range(0, 1), out.rows);
  for (const std::vector<double>& row : out.rows) {
    if (row.empty() || row.size() != out.rows[0].size()) fail_yaml(node, "rows of one length");
  }
}

YamlNode ParamType<GridMask>::write(const GridMask& value) {
  if (!value.given()) return {};
  return value.path.empty() ? ParamType<std::vector<std::vector<double>>>::write(value.rows)
                            : YamlNode::words(value.path);
}

}  // namespace heddle
