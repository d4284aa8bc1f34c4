// Sums of maps over steps, masks from them, latents put together.
#include "attention_control/plugins/local_blend.h"

#include <algorithm>
#include <numeric>

#include "attention_control/plugins/cross_maps.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr const char* maps_name = "prompt_to_prompt";

std::vector<std::vector<int64_t>> tokens_of_members(const std::vector<TokenWords>& words, const RunShape& run,
                                                    const std::string& where) {
  if (words.size() != run.members.size()) {
    fail(ErrorCode::usage, where, "words for each of " + std::to_string(run.members.size()) + " prompts, source first",
         std::to_string(words.size()));
  }
  std::vector<std::vector<int64_t>> out;
  for (size_t m = 0; m < words.size(); ++m) out.push_back(words[m].positions(run.members[m].words, where));
  return out;
}

// The maps of each member, summed over sites.
std::vector<AttentionMap> over_sites(const std::vector<AttentionMap>& maps, size_t members) {
  std::vector<AttentionMap> totals(members);
  for (const AttentionMap& map : maps) {
    AttentionMap& total = totals[static_cast<size_t>(map.lane.member)];
    const Tensor rows = image_rows(map);
    const Tensor sum = total.values.defined() ? add(total.values, rows) : rows;
    total = map;
    total.values = sum;
  }
  return totals;
}

// sums[q] += sum over the map's keys of weight[key] map[row, q, key]; weights by text position
void add_columns(std::vector<float>& sums, const AttentionMap& map, int64_t row, const std::vector<float>& weights) {
  const int64_t text = image_text(map.tokens).text_keys.begin;
  const std::vector<float> values = contiguous(slice(map.values, 0, row, row + 1)).to_vector();
  for (size_t q = 0; q < sums.size(); ++q) {
    for (size_t t = 0; t < map.keys.size(); ++t)
      sums[q] += weights[static_cast<size_t>(map.keys[t] - text)] * values[q * map.keys.size() + t];
  }
}

}  // namespace

Params<LocalBlendSettings> LocalBlendSettings::params() {
  using S = LocalBlendSettings;
  return {
      need("words", &S::words, "what may change: words of the source, then of each target"),
      opt("threshold", &S::threshold, range(0, 1), "share of a map above which a place may change"),
      opt("share_of", &S::share_of,
          "the thresholds are shares of a map's peak, or of its range from least to peak, which parts flat maps "
          "better"),
      opt("start", &S::start, range(0, 1), "share of steps before the first blend"),
      opt("exclude_words", &S::exclude_words, "what must not change: words of the source, then of each target"),
      opt("exclude_threshold", &S::exclude_threshold, range(0, 1), "share of a map above which a place is kept"),
      opt("store", &S::store, "maps of the target after its edit, as the official code, or before it"),
      opt("resolution", &S::resolution, range(1, 1024), "side of the maps that are read; nearest to 16 if not given")};
}

void LocalBlend::declare(PlanBuilder& plan, const LocalBlendSettings& settings, Edited edited) {
  settings_ = settings;
  edited_ = std::move(edited);
  const RunShape& run = plan.run();
  words_ = tokens_of_members(settings.words, run, plan.where() + " local_blend.words");
  excluded_.resize(words_.size());
  if (!settings.exclude_words.empty())
    excluded_ = tokens_of_members(settings.exclude_words, run, plan.where() + " local_blend.exclude_words");
  height_ = run.height, width_ = run.width;
  const std::vector<SiteScope> sites = map_sites_near(plan, {settings.resolution, {}}, 16);
  map_height_ = image_grid(sites[0].tokens()).height;
  map_width_ = image_grid(sites[0].tokens()).width;

  std::vector<std::vector<int64_t>> keys = words_;
  for (size_t m = 0; m < keys.size(); ++m) {
    keys[m].insert(keys[m].end(), excluded_[m].begin(), excluded_[m].end());
    const std::vector<int64_t> read = m > 0 && edited_.reads && settings_.store == StoredMaps::after
                                          ? edited_.reads(static_cast<int>(m), keys[m])
                                          : std::vector<int64_t>{};
    keys[0].insert(keys[0].end(), read.begin(), read.end());
  }
  for (size_t m = 0; m < keys.size(); ++m) {
    std::ranges::sort(keys[m]);
    keys[m].erase(std::unique(keys[m].begin(), keys[m].end()), keys[m].end());
    const bool raw = !edited_.weights && settings_.store == StoredMaps::before;
    for (const SiteScope& site : sites)
      capture_words(site.lane(Branch::cond).member(static_cast<int>(m)).passes({Pass::denoise}),
                    {.name = maps_name, .keys = keys[m], .raw = raw, .optional = true}, run.members[m].words);
  }
  plan.hooks.after_evaluation.push_back(
      [this](const Captures& captures, const Moment& moment, const std::vector<Lane>&) { collect(captures, moment); });
  plan.hooks.after_step.push_back([this](const StepState& state) { return blended(state); });
}

void LocalBlend::collect(const Captures& captures, const Moment& moment) {
  if (moment.pass != Pass::denoise || !moment.begins_step || captures.at(maps_name).empty()) return;
  const std::vector<AttentionMap> totals = over_sites(captures.at(maps_name), words_.size());
  for (size_t m = 0; m < words_.size(); ++m) {
    const auto member = static_cast<int>(m);
    const auto weights = [&](const std::vector<int64_t>& words) {
      if (m > 0 && edited_.weights && settings_.store == StoredMaps::after)
        return edited_.weights(member, moment.step, words);
      ColumnWeights own;
      own.own.resize(static_cast<size_t>(image_text(totals[m].tokens).text_keys.size()), 0);
      for (const int64_t word : words) own.own[static_cast<size_t>(word)] = 1;
      return own;
    };
    accumulate(sums_, totals, member, weights(words_[m]));
    accumulate(excluded_sums_, totals, member, weights(excluded_[m]));
  }
}

void LocalBlend::accumulate(Sums& sums, const std::vector<AttentionMap>& totals, int member,
                            const ColumnWeights& weights) const {
  const AttentionMap& own = totals[static_cast<size_t>(member)];
  for (int64_t row = 0; row < own.values.dim(0); ++row) {
    std::vector<float>& sum = sums[{member, row}];
    sum.resize(static_cast<size_t>(map_height_ * map_width_), 0);
    add_columns(sum, own, row, weights.own);
    if (!weights.source.empty()) add_columns(sum, totals[0], row, weights.source);
  }
}

// 1 where the words look, on the latents' grid.
Grid LocalBlend::region(const Sums& sums, int member, int64_t picture, double threshold, bool grown) const {
  Grid map{map_height_, map_width_, sums.at({member, picture})};
  if (grown) map = grow(map);
  Grid out = resize_nearest(map, height_, width_);
  const auto [least, peak] = std::ranges::minmax(out.values);
  const float floor = settings_.share_of == MapShare::range ? least : 0;
  for (float& v : out.values) v = (v - floor) / (peak - floor) > static_cast<float>(threshold) ? 1.0f : 0.0f;
  return out;
}

Tensor LocalBlend::blended(const StepState& state) const {
  if (state.step < static_cast<int>(settings_.start * state.steps) || sums_.empty()) return state.latents;
  const int64_t pictures = state.latents.dim(0) / state.members;
  std::vector<Tensor> rows;
  for (int member = 0; member < state.members; ++member) {
    for (int64_t picture = 0; picture < pictures; ++picture) {
      const auto row = [&](int m) {
        return slice(state.latents, 0, m * pictures + picture, m * pictures + picture + 1);
      };
      if (member == 0) {
        rows.push_back(row(0));
        continue;
      }
      Grid mask = region(sums_, 0, picture, settings_.threshold, true);
      const Grid own = region(sums_, member, picture, settings_.threshold, true);
      for (size_t i = 0; i < mask.values.size(); ++i) mask.values[i] = std::max(mask.values[i], own.values[i]);
      for (const int m : settings_.exclude_words.empty() ? std::vector<int>{} : std::vector{0, member}) {
        const Grid kept = region(excluded_sums_, m, picture, settings_.exclude_threshold, false);
        for (size_t i = 0; i < mask.values.size(); ++i) mask.values[i] *= 1 - kept.values[i];
      }
      const Tensor inside = Tensor::from(std::span<const float>(mask.values), {1, 1, height_, width_});
      const Tensor outside = add_constant(scale(inside, -1), 1);
      rows.push_back(add(multiply(outside, row(0)), multiply(inside, row(member))));
    }
  }
  return concat(rows, 0);
}

}  // namespace heddle
