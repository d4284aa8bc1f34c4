// Mean maps, smoothing and step lengths, as Attend-and-Excite and its successors have them.
#include "attention_control/plugins/cross_maps.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention_control/plugins/grid_blur.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

int64_t longer_side(const SiteTokens& tokens) {
  return std::max(tokens.query.front().height, tokens.query.front().width);
}

int64_t nearest_resolution(const RunShape& run, double wanted) {
  int64_t best = 0;
  for (size_t i = 0; i < run.sites.size(); ++i) {
    if (run.sites[i].kind != AttentionKind::cross) continue;
    const int64_t side = longer_side(run.tokens[i]);
    if (best == 0 || std::abs(static_cast<double>(side) - wanted) < std::abs(static_cast<double>(best) - wanted))
      best = side;
  }
  return best;
}

std::vector<SiteScope> cross_sites_of(PlanBuilder& plan, int64_t side) {
  return plan.sites({.kinds = {AttentionKind::cross},
                     .names = {},
                     .also = [side](const SiteScope& s) { return longer_side(s.tokens()) == side; },
                     .text = "cross-attention at a grid of " + std::to_string(side)});
}

}  // namespace

std::vector<SiteScope> cross_sites(PlanBuilder& plan, std::optional<int> resolution) {
  const double quarter = static_cast<double>(std::max(plan.run().height, plan.run().width)) / 4;
  return cross_sites_of(plan, resolution ? *resolution : nearest_resolution(plan.run(), quarter));
}

std::vector<SiteScope> cross_sites_near(PlanBuilder& plan, std::optional<int> resolution, int side) {
  return cross_sites_of(plan, resolution ? *resolution : nearest_resolution(plan.run(), side));
}

Tensor mean_map(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row) {
  Tensor total;
  int64_t heads = 0;
  for (const AttentionMap& map : maps) {
    if (map.lane.branch != lane.branch || map.lane.member != lane.member) continue;
    const Tensor one = slice(map.values, 0, row, row + 1);
    const Tensor weighted = scale(reshape(one, {one.dim(1), one.dim(2)}), static_cast<double>(map.site.heads));
    total = total.defined() ? add(total, weighted) : weighted;
    heads += map.site.heads;
  }
  return scale(total, 1.0 / static_cast<double>(heads));
}

std::vector<Lane> lanes_of(const std::vector<AttentionMap>& maps) {
  std::vector<Lane> out;
  for (const AttentionMap& map : maps) {
    const auto same = [&](const Lane& l) { return l.branch == map.lane.branch && l.member == map.lane.member; };
    if (std::ranges::none_of(out, same)) out.push_back(map.lane);
  }
  return out;
}

std::vector<int64_t> word_columns(const PromptTokens& words, TextRange range) {
  const int64_t end = range == TextRange::to_eot ? words.end : words.length - 1;
  std::vector<int64_t> columns(static_cast<size_t>(std::max<int64_t>(end - 1, 0)));
  std::iota(columns.begin(), columns.end(), 1);
  return columns;
}

std::vector<int64_t> places_in(const std::vector<int64_t>& columns, const std::vector<int64_t>& keys,
                               const std::string& where) {
  std::vector<int64_t> out;
  for (const int64_t key : keys) {
    const auto at = std::ranges::find(columns, key);
    if (at == columns.end())
      fail(ErrorCode::usage, where, "tokens among the words of the prompt", "token " + std::to_string(key));
    out.push_back(at - columns.begin());
  }
  return out;
}

Tensor smooth(const Tensor& map, int64_t height, int64_t width, const std::vector<double>& kernel) {
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(kernel.size()))));
  Tensor total;
  std::vector<int64_t> from(static_cast<size_t>(height * width));
  for (int64_t dy = 0; dy < side; ++dy) {
    for (int64_t dx = 0; dx < side; ++dx) {
      for (int64_t y = 0; y < height; ++y) {
        for (int64_t x = 0; x < width; ++x)
          from[static_cast<size_t>(y * width + x)] =
              reflected(y + dy - side / 2, height) * width + reflected(x + dx - side / 2, width);
      }
      const Tensor moved = scale(gather(map, 0, from), kernel[static_cast<size_t>(dy * side + dx)]);
      total = total.defined() ? add(total, moved) : moved;
    }
  }
  return total;
}

std::vector<double> smoothing_kernel(int side, double sigma, KernelRule rule) {
  const double spread = rule == KernelRule::official ? 4 * sigma * sigma : 2 * sigma * sigma;
  std::vector<double> line(static_cast<size_t>(side)), kernel;
  double sum = 0;
  for (int i = 0; i < side; ++i) {
    const double d = i - (side - 1) / 2.0;
    sum += line[static_cast<size_t>(i)] = std::exp(-d * d / spread);
  }
  for (const double y : line) {
    for (const double x : line) kernel.push_back(y * x / (sum * sum));
  }
  return kernel;
}

double step_length(double scale, const std::array<double, 2>& range, StepRule rule, int step, int steps) {
  const double share = steps > 1 ? static_cast<double>(step) / (steps - 1) : 0;
  const double value = range[0] + (range[1] - range[0]) * share;
  return scale * (rule == StepRule::sqrt ? std::sqrt(value) : value);
}

}  // namespace heddle
