// Bounded Attention's loss on captured maps, and how regions follow what is drawn.
#include <algorithm>

#include "attention_control/plugins/bounded_attention.h"
#include "attention_control/plugins/cross_maps.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

void add_to(std::vector<float>& sum, const std::vector<float>& values) {
  sum.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
}

}  // namespace

std::vector<int64_t> BoundedAttention::Tokens::all_nouns() const {
  std::vector<int64_t> out;
  for (const std::vector<int64_t>& noun : nouns) out.insert(out.end(), noun.begin(), noun.end());
  return out;
}

// What one row's pixels give to a subject's words and the ends, or to its box: [1,Nx,C].
Tensor BoundedAttention::own_columns(const AttentionMap& map, int64_t row, const Tokens& of, size_t subject,
                                     bool cross) const {
  const ImageText at = image_text(map.tokens);
  const TokenSegment& grid = image_grid(map.tokens);
  const RegionMask region = first_regions(grid.height, grid.width)[subject];
  const std::vector<int64_t>& words = of.subjects[subject];
  std::vector<int64_t> columns;
  for (size_t c = 0; c < map.keys.size(); ++c) {
    const int64_t key = map.keys[c] - (cross ? at.text_keys : at.image_keys).begin;
    const bool own = cross ? of.ends.contains(key) || std::ranges::find(words, key) != words.end()
                           : region.inside[static_cast<size_t>(key)] != 0;
    if (own) columns.push_back(static_cast<int64_t>(c));
  }
  return gather(slice(image_rows(map), 0, row, row + 1), 2, columns);
}

// sum over subjects of (1 - F / (F + n G))^2, with F the attention of a subject's box to its context and G that of the
// background, each summed over heads and pixels and averaged over layers.
Tensor BoundedAttention::subject_terms(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row,
                                       bool cross) const {
  Tensor total = Tensor::zeros({});
  const Tokens& of = tokens_[static_cast<size_t>(lane.member)];
  for (size_t i = 0; i < subjects(); ++i) {
    Tensor inside = Tensor::zeros({}), outside = Tensor::zeros({});
    double layers = 0;
    for (const AttentionMap& map : maps) {
      if (map.lane.member != lane.member) continue;
      const TokenSegment& grid = image_grid(map.tokens);
      const std::vector<RegionMask> regions = first_regions(grid.height, grid.width);
      const std::vector<uint32_t> sets = membership(regions);
      std::vector<int64_t> box, background;
      for (size_t x = 0; x < sets.size(); ++x) {
        if (regions[i].inside[x]) box.push_back(static_cast<int64_t>(x));
        if (sets[x] == 0) background.push_back(static_cast<int64_t>(x));
      }
      const Tensor own = own_columns(map, row, of, i, cross);
      const auto heads = static_cast<double>(map.site.heads);
      inside = add(inside, scale(sum(gather(own, 1, box)), heads));
      if (!background.empty()) outside = add(outside, scale(sum(gather(own, 1, background)), heads));
      layers += 1;
    }
    if (layers == 0) continue;
    const Tensor f = scale(inside, 1 / layers), g = scale(outside, static_cast<double>(subjects()) / layers);
    total = add(total, square(add_constant(scale(divide(f, add(f, g)), -1), 1)));
  }
  return total;
}

Tensor BoundedAttention::loss(const Captures& captures) const {
  const std::vector<AttentionMap>& cross = captures.at("bounded_attention.cross");
  const std::vector<AttentionMap>& self = captures.at("bounded_attention.self");
  Tensor total = Tensor::zeros({});
  for (const Lane& lane : lanes_of(cross.empty() ? self : cross)) {
    for (int64_t row = 0; row < lane.rows(); ++row) {
      total = add(total, scale(subject_terms(cross, lane, row, true), cross_loss));
      total = add(total, scale(subject_terms(self, lane, row, false), self_loss));
    }
  }
  return total;
}

// Each subject's noun as one column, though two encoders have places for it.
Tensor BoundedAttention::noun_columns(const AttentionMap& map) const {
  std::vector<Tensor> out;
  int64_t at = 0;
  for (const std::vector<int64_t>& noun : tokens_[static_cast<size_t>(map.lane.member)].nouns) {
    const int64_t end = at + static_cast<int64_t>(noun.size());
    out.push_back(sum(slice(image_rows(map), 2, at, end), {2}, Axes::keep));
    at = end;
  }
  return concat(out, 2);
}

void BoundedAttention::collect(const Captures& captures) {
  const auto put = [&](const AttentionMap& map, const Tensor& values, std::vector<float> Drawn::*total,
                       int64_t Drawn::*count) {
    for (int64_t row = 0; row < map.lane.rows(); ++row) {
      Drawn& of = drawn_[{map.lane.member, map.lane.picture + row}];
      add_to(of.*total, slice(values, 0, row, row + 1).to_vector());
      ++(of.*count);
    }
  };
  for (const AttentionMap& map : captures.at("bounded_attention.pixels"))
    put(map, image_rows(map), &Drawn::self, &Drawn::self_maps);
  for (const AttentionMap& map : captures.at("bounded_attention.nouns"))
    put(map, noun_columns(map), &Drawn::nouns, &Drawn::noun_maps);
}

void BoundedAttention::follow() {
  const std::vector<RegionMask> first = first_regions(region_height_, region_width_);
  for (auto& [picture, of] : drawn_) {
    if (of.self_maps == 0 || of.noun_maps == 0) continue;
    const auto mean = [](std::vector<float> sum, int64_t count) {
      for (float& v : sum) v /= static_cast<float>(count);
      return sum;
    };
    const RefineSettings settings{refine.clusters_per_subject, refine.tau_noun, refine.sharp, refine.tau_cluster};
    of.regions = refined(of.regions.empty() ? first : of.regions, first, mean(of.self, of.self_maps),
                         mean(of.nouns, of.noun_maps), settings, of.centres);
  }
}

}  // namespace heddle
