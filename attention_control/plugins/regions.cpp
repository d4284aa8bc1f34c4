// Bounded Attention's regions: Dahary et al. 2024, section 4.3 and the official code.
#include "attention_control/plugins/regions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace heddle {
namespace {

double squared_distance(const float* a, const float* b, int64_t width) {
  double total = 0;
  for (int64_t i = 0; i < width; ++i) total += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
  return total;
}

std::vector<float> first_centres(const std::vector<float>& features, int64_t count, int clusters) {
  const int64_t width = static_cast<int64_t>(features.size()) / count;
  const std::vector<float> zero(static_cast<size_t>(width));
  std::vector<double> distance(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    distance[static_cast<size_t>(i)] = squared_distance(&features[static_cast<size_t>(i * width)], zero.data(), width);
  std::vector<float> centres;
  for (int c = 0; c < clusters; ++c) {
    const auto next = std::max_element(distance.begin(), distance.end()) - distance.begin();
    const float* row = &features[static_cast<size_t>(next * width)];
    centres.insert(centres.end(), row, row + width);
    for (int64_t i = 0; i < count; ++i) {
      const double d = squared_distance(&features[static_cast<size_t>(i * width)], row, width);
      double& nearest = distance[static_cast<size_t>(i)];
      nearest = c == 0 ? d : std::min(nearest, d);
    }
  }
  return centres;
}

// Maxima over queries become 1, so that each key's looks count alike.
std::vector<float> by_column_maximum(const std::vector<float>& map, int64_t rows) {
  const int64_t columns = static_cast<int64_t>(map.size()) / rows;
  std::vector<float> out = map;
  for (int64_t c = 0; c < columns; ++c) {
    float top = 0;
    for (int64_t r = 0; r < rows; ++r) top = std::max(top, map[static_cast<size_t>(r * columns + c)]);
    for (int64_t r = 0; r < rows && top > 0; ++r) out[static_cast<size_t>(r * columns + c)] /= top;
  }
  return out;
}

// The noun's map, sharpened to 0..1, inside the subject's region.
std::vector<float> noun_mask(const std::vector<float>& nouns, size_t subject, size_t subjects, const RegionMask& region,
                             const RefineSettings& s) {
  std::vector<float> out(region.inside.size());
  for (size_t x = 0; x < out.size(); ++x) {
    const double v = nouns[x * subjects + subject];
    out[x] = static_cast<float>(1 / (1 + std::exp(-s.sharp * (v - s.tau_noun))));
  }
  const auto [low, high] = std::ranges::minmax(out);
  for (size_t x = 0; x < out.size(); ++x)
    out[x] = high > low ? (out[x] - low) / (high - low) * static_cast<float>(region.inside[x]) : 0;
  return out;
}

}  // namespace

bool RegionMask::empty() const {
  return std::ranges::find(inside, uint8_t{1}) == inside.end();
}

RegionMask box_mask(const Box& box, int64_t height, int64_t width) {
  const auto span = [](double from, double to, int64_t extent) {
    auto a = static_cast<int64_t>(std::nearbyint(from * static_cast<double>(extent)));
    auto b = static_cast<int64_t>(std::nearbyint(to * static_cast<double>(extent)));
    a = std::clamp<int64_t>(a, 0, extent - 1);
    return std::pair{a, std::clamp(b, a + 1, extent)};
  };
  const auto [left, right] = span(box[0], box[2], width);
  const auto [top, bottom] = span(box[1], box[3], height);
  RegionMask mask{height, width, std::vector<uint8_t>(static_cast<size_t>(height * width))};
  for (int64_t y = top; y < bottom; ++y) {
    for (int64_t x = left; x < right; ++x) mask.inside[static_cast<size_t>(y * width + x)] = 1;
  }
  return mask;
}

RegionMask resized(const RegionMask& mask, int64_t height, int64_t width) {
  if (mask.height == height && mask.width == width) return mask;
  RegionMask out{height, width, std::vector<uint8_t>(static_cast<size_t>(height * width))};
  const auto from = [](int64_t i, int64_t extent, int64_t source) {
    return std::min(static_cast<int64_t>((static_cast<double>(i) + 0.5) * static_cast<double>(source) /
                                         static_cast<double>(extent)),
                    source - 1);
  };
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x)
      out.inside[static_cast<size_t>(y * width + x)] =
          mask.inside[static_cast<size_t>(from(y, height, mask.height) * mask.width + from(x, width, mask.width))];
  }
  return out;
}

std::vector<uint32_t> membership(const std::vector<RegionMask>& regions) {
  std::vector<uint32_t> out(regions.front().inside.size());
  for (size_t i = 0; i < regions.size(); ++i) {
    for (size_t x = 0; x < out.size(); ++x) out[x] |= static_cast<uint32_t>(regions[i].inside[x]) << i;
  }
  return out;
}

std::vector<int> k_means(const std::vector<float>& features, int64_t count, int clusters, std::vector<float>& centres) {
  const int64_t width = static_cast<int64_t>(features.size()) / count;
  if (centres.size() != static_cast<size_t>(clusters * width)) centres = first_centres(features, count, clusters);
  std::vector<int> of(static_cast<size_t>(count), -1);
  for (int round = 0; round < 100; ++round) {
    bool moved = false;
    for (int64_t i = 0; i < count; ++i) {
      double best = std::numeric_limits<double>::infinity();
      int nearest = 0;
      for (int c = 0; c < clusters; ++c) {
        const double d = squared_distance(&features[static_cast<size_t>(i * width)],
                                          &centres[static_cast<size_t>(c * width)], width);
        if (d < best) best = d, nearest = c;
      }
      moved |= of[static_cast<size_t>(i)] != nearest;
      of[static_cast<size_t>(i)] = nearest;
    }
    if (!moved) break;
    std::vector<double> sums(centres.size());
    std::vector<int64_t> sizes(static_cast<size_t>(clusters));
    for (int64_t i = 0; i < count; ++i) {
      const auto c = static_cast<size_t>(of[static_cast<size_t>(i)]);
      ++sizes[c];
      for (int64_t w = 0; w < width; ++w)
        sums[c * static_cast<size_t>(width) + static_cast<size_t>(w)] += features[static_cast<size_t>(i * width + w)];
    }
    for (size_t c = 0; c < sizes.size(); ++c) {
      for (size_t w = 0; w < static_cast<size_t>(width) && sizes[c] > 0; ++w) {
        const size_t at = c * static_cast<size_t>(width) + w;
        centres[at] = static_cast<float>(sums[at] / static_cast<double>(sizes[c]));
      }
    }
  }
  return of;
}

std::vector<RegionMask> refined(const std::vector<RegionMask>& current, const std::vector<RegionMask>& boxes,
                                const std::vector<float>& self, const std::vector<float>& nouns,
                                const RefineSettings& settings, std::vector<float>& centres) {
  const size_t subjects = current.size(), pixels = current.front().inside.size();
  const int clusters = std::min(settings.clusters_per_subject * static_cast<int>(subjects), static_cast<int>(pixels));
  const std::vector<int> cluster_of =
      k_means(by_column_maximum(self, static_cast<int64_t>(pixels)), static_cast<int64_t>(pixels), clusters, centres);
  const std::vector<float> normalised = by_column_maximum(nouns, static_cast<int64_t>(pixels));
  std::vector<std::vector<float>> masks;
  for (size_t i = 0; i < subjects; ++i) masks.push_back(noun_mask(normalised, i, subjects, current[i], settings));

  std::vector<RegionMask> out(subjects, {current[0].height, current[0].width, std::vector<uint8_t>(pixels)});
  for (int c = 0; c < clusters; ++c) {
    const auto size = static_cast<double>(std::ranges::count(cluster_of, c));
    double best = -1;
    size_t winner = 0;
    for (size_t i = 0; i < subjects; ++i) {
      const double mass = std::accumulate(masks[i].begin(), masks[i].end(), 0.0);
      double overlap = 0;
      for (size_t x = 0; x < pixels; ++x) overlap += cluster_of[x] == c ? masks[i][x] : 0;
      const double smaller = std::min(mass, size);
      const double score = smaller > 0 ? overlap / smaller : 0;
      if (score > best) best = score, winner = i;
    }
    if (best < settings.tau_cluster) continue;
    for (size_t x = 0; x < pixels; ++x) {
      if (cluster_of[x] == c) out[winner].inside[x] = 1;
    }
  }
  for (size_t i = 0; i < subjects; ++i) {
    if (!out[i].empty()) continue;
    for (size_t j = 0; j < subjects; ++j) {
      for (size_t x = 0; x < pixels && j != i; ++x) out[j].inside[x] &= static_cast<uint8_t>(1 - boxes[i].inside[x]);
    }
    out[i] = boxes[i];
  }
  return out;
}

}  // namespace heddle
