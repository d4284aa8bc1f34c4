// Regions of subjects on grids of any size: boxes, masks, and what attention maps refine them to.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "attention_control/plan/site.h"

namespace heddle {

using Box = std::array<double, 4>;  // x0, y0, x1, y1 in 0..1, y down

// One subject's pixels on a grid, row-major, 1 inside.
struct RegionMask {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> inside;
  bool empty() const;
};

// Rows round(y0 h) .. round(y1 h) - 1, columns alike, halves to even; one pixel at least.
RegionMask box_mask(const Box& box, int64_t height, int64_t width);
// The nearest pixel by its centre, as torch's "nearest-exact".
RegionMask resized(const RegionMask& mask, int64_t height, int64_t width);

// For each pixel the set of regions that it lies in, one bit each.
std::vector<uint32_t> membership(const std::vector<RegionMask>& regions);

// K-means of rows of `features` [count, width]: the first centre is the row of largest norm, each further one the row
// farthest from all before (the lower index at ties); at most 100 rounds; an empty cluster keeps its centre. With
// `centres` given it starts from them; they hold the last ones afterwards. Returns each row's cluster.
std::vector<int> k_means(const std::vector<float>& features, int64_t count, int clusters, std::vector<float>& centres);

// What refinement is told: means over the run so far of self-attention [N,N] (rows are queries) and of each subject's
// noun [N,n], on the grid of the regions.
struct RefineSettings {
  int clusters_per_subject = 3;
  double tau_noun = 0.2, sharp = 10, tau_cluster = 0.2;
};
std::vector<RegionMask> refined(const std::vector<RegionMask>& current, const std::vector<RegionMask>& boxes,
                                const std::vector<float>& self, const std::vector<float>& nouns,
                                const RefineSettings& settings, std::vector<float>& centres);

}  // namespace heddle
