// Bounded Attention's masks for each pass, its loss on captured maps, and how regions follow what is drawn.
#include <algorithm>
#include <limits>

#include "attention_control/plugins/bounded_attention.h"
#include "attention_control/plugins/cross_maps.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr float forbidden = -std::numeric_limits<float>::infinity();

// Sets as labels 0, 1, ... in the order of their bits.
std::vector<int64_t> labelled(const std::vector<uint32_t>& sets, const std::vector<uint32_t>& distinct) {
  std::vector<int64_t> out;
  for (const uint32_t set : sets) out.push_back(std::ranges::lower_bound(distinct, set) - distinct.begin());
  return out;
}

std::vector<uint32_t> distinct_of(std::vector<uint32_t> sets) {
  std::ranges::sort(sets);
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  return sets;
}

Tensor ids(const std::vector<int64_t>& values, int64_t rows) {
  return Tensor::from(std::span<const int64_t>(values), {rows, static_cast<int64_t>(values.size()) / rows});
}

void add_to(std::vector<float>& sum, const std::vector<float>& values) {
  sum.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
}

}  // namespace

std::vector<RegionMask> BoundedAttention::first_regions(int64_t height, int64_t width) const {
  std::vector<RegionMask> out;
  for (const auto& box : boxes) out.push_back(box_mask(box, height, width));
  for (const MaskRows& rows : masks) {
    RegionMask mask{static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size()), {}};
    for (const auto& line : rows) mask.inside.insert(mask.inside.end(), line.begin(), line.end());
    out.push_back(resized(mask, height, width));
  }
  return out;
}

std::vector<RegionMask> BoundedAttention::regions_at(const Picture& picture, const TokenSegment& grid) const {
  const auto found = drawn_.find(picture);
  if (found == drawn_.end() || found->second.regions.empty()) return first_regions(grid.height, grid.width);
  std::vector<RegionMask> out;
  for (const RegionMask& mask : found->second.regions) out.push_back(resized(mask, grid.height, grid.width));
  return out;
}

// The sets of regions of the lane's pixels, row after row.
std::vector<uint32_t> BoundedAttention::members_at(const TermPlace& place) const {
  std::vector<uint32_t> out;
  for (int64_t row = 0; row < place.lane.rows(); ++row) {
    const std::vector<uint32_t> one =
        membership(regions_at({place.lane.member, place.lane.picture + row}, place.tokens.query.front()));
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

// Pixels of subjects see their own regions and the background; the background sees everything.
std::vector<TermForm> BoundedAttention::self_mask(const TermPlace& place) const {
  const std::vector<uint32_t> sets = members_at(place), distinct = distinct_of(sets);
  std::vector<float> table;
  for (const uint32_t q : distinct) {
    for (const uint32_t k : distinct) table.push_back(q != 0 && k != 0 && (q & k) == 0 ? forbidden : 0);
  }
  const auto count = static_cast<int64_t>(distinct.size());
  const Tensor labels = ids(labelled(sets, distinct), place.lane.rows());
  return {Labels{labels, labels, Tensor::from(std::span<const float>(table), {count, count})}};
}

// A subject's words are seen in its region (guiding: in the background, too); the end token not in the background
// (guiding: everywhere); filtered words nowhere.
std::vector<TermForm> BoundedAttention::cross_mask(const TermPlace& place, bool guiding) const {
  const Tokens& of = tokens_[static_cast<size_t>(place.lane.member)];
  const std::vector<uint32_t> sets = members_at(place), distinct = distinct_of(sets);
  constexpr uint32_t plain = 0, end = 1u << 30, filtered = 1u << 31;
  std::vector<uint32_t> keys(static_cast<size_t>(of.length), plain);
  for (const int64_t token : of.filtered) keys[static_cast<size_t>(token)] = filtered;
  keys[static_cast<size_t>(of.end)] = end;
  for (size_t i = 0; i < of.subjects.size(); ++i) {
    for (const int64_t token : of.subjects[i]) keys[static_cast<size_t>(token)] |= 1u << i;
  }
  const std::vector<uint32_t> kinds = distinct_of(keys);
  std::vector<float> table;
  for (const uint32_t q : distinct) {
    for (const uint32_t k : kinds) {
      const bool background = q == 0;
      const bool seen = k == plain      ? true
                        : k == end      ? guiding || !background
                        : k == filtered ? false
                                        : (q & k) != 0 || (guiding && background);
      table.push_back(seen ? 0 : forbidden);
    }
  }
  return {Labels{ids(labelled(sets, distinct), place.lane.rows()), ids(labelled(keys, kinds), 1),
                 Tensor::from(std::span<const float>(table),
                              {static_cast<int64_t>(distinct.size()), static_cast<int64_t>(kinds.size())})}};
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
      const TokenSegment& grid = map.tokens.query.front();
      const std::vector<RegionMask> regions = first_regions(grid.height, grid.width);
      const std::vector<uint32_t> sets = membership(regions);
      std::vector<int64_t> columns, box, background;
      for (size_t c = 0; c < map.keys.size(); ++c) {
        const int64_t key = map.keys[c];
        const bool own = cross ? key == of.end || std::ranges::find(of.subjects[i], key) != of.subjects[i].end()
                               : regions[i].inside[static_cast<size_t>(key)] != 0;
        if (own) columns.push_back(static_cast<int64_t>(c));
      }
      for (size_t x = 0; x < sets.size(); ++x) {
        if (regions[i].inside[x]) box.push_back(static_cast<int64_t>(x));
        if (sets[x] == 0) background.push_back(static_cast<int64_t>(x));
      }
      const Tensor own = gather(slice(map.values, 0, row, row + 1), 2, columns);  // [1,Nq,C]
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

void BoundedAttention::collect(const Captures& captures) {
  const auto each = [&](const char* name, std::vector<float> Drawn::*sum, int64_t Drawn::*count) {
    for (const AttentionMap& map : captures.at(name)) {
      for (int64_t row = 0; row < map.lane.rows(); ++row) {
        Drawn& of = drawn_[{map.lane.member, map.lane.picture + row}];
        add_to(of.*sum, slice(map.values, 0, row, row + 1).to_vector());
        ++(of.*count);
      }
    }
  };
  each("bounded_attention.pixels", &Drawn::self, &Drawn::self_maps);
  each("bounded_attention.nouns", &Drawn::nouns, &Drawn::noun_maps);
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
