// Mean maps, smoothing and step lengths, as Attend-and-Excite and its successors have them.
#include "attention_control/plugins/cross_maps.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "attention_control/plugins/grid_blur.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

// Sites of the grid that is asked for, or else nearest to `wanted`.
std::vector<SiteScope> sites_at(PlanBuilder& plan, const MapSites& choice, double wanted) {
  const std::vector<SiteScope> all = text_sites(plan, layers_or(choice.layers, plan.run(), {}, "0.25..0.75"));
  std::set<int64_t> sides;
  for (const SiteScope& site : all) sides.insert(longer_side(site.tokens()));
  const auto distance = [&](int64_t side) { return std::abs(static_cast<double>(side) - wanted); };
  const int64_t side = choice.resolution ? *choice.resolution : *std::ranges::min_element(sides, {}, distance);
  std::vector<SiteScope> out;
  std::ranges::copy_if(all, std::back_inserter(out),
                       [side](const SiteScope& s) { return longer_side(s.tokens()) == side; });
  if (!out.empty()) return out;
  std::string grids;
  for (const int64_t s : sides) grids += (grids.empty() ? "" : ", ") + std::to_string(s);
  fail(ErrorCode::usage, plan.where() + " " + plan.method(), "maps on a grid that the network has, of side " + grids,
       std::to_string(side));
}

}  // namespace

std::vector<SiteScope> map_sites(PlanBuilder& plan, const MapSites& choice) {
  return sites_at(plan, choice, static_cast<double>(std::max(plan.run().height, plan.run().width)) / 4);
}

std::vector<SiteScope> map_sites_near(PlanBuilder& plan, const MapSites& choice, int side) {
  return sites_at(plan, choice, side);
}

Tensor mean_map(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row) {
  Tensor total;
  int64_t heads = 0;
  for (const AttentionMap& map : maps) {
    if (map.lane.branch != lane.branch || map.lane.member != lane.member) continue;
    const Tensor one = slice(image_rows(map), 0, row, row + 1);
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
  std::vector<int64_t> columns;
  for (const PromptPart& part : words.text_parts()) {
    const int64_t end = range == TextRange::to_eot ? part.end : part.stop - 1;
    for (int64_t key = part.first; key < end; ++key) columns.push_back(key);
  }
  return columns;
}

TextRange text_range_of(std::optional<TextRange> asked, const RunShape& run, const std::string& where) {
  if (is_joint(run) && asked == TextRange::to_last)
    fail(ErrorCode::usage, where + " text_range", "to_eot: a joint attention's maps leave padding out", "to_last");
  return asked.value_or(is_joint(run) ? TextRange::to_eot : TextRange::to_last);
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
