// A-STAR: attention segregation pushes the subjects' maps apart, retention keeps each where it was a step ago.
// Agarwal et al. 2023, arXiv 2306.14544; there is no original code, what the paper leaves open follows
// Attend-and-Excite. Verbs: capture, loss. Stays fused.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "attention_control/plugins/cross_maps.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/token_words.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/softmax.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class Normalise : uint8_t { minmax, none };
enum class MaskSource : uint8_t { previous_step, user };

}  // namespace
template <>
struct ParamWords<Normalise> {
  static constexpr std::array words{"minmax", "none"};
};
template <>
struct ParamWords<MaskSource> {
  static constexpr std::array words{"previous_step", "user"};
};
namespace {

struct StepSize {
  double scale = 20;
  std::array<double, 2> range{1.0, 0.5};
  StepRule rule = StepRule::sqrt;
  static Params<StepSize> params() {
    return {opt("scale", &StepSize::scale, heddle::range(0, 1e6), "length of a step along the gradient"),
            opt("range", &StepSize::range, heddle::range(0, 10), "factors of the length at the first and last step"),
            opt("rule", &StepSize::rule, "how the factor acts")};
  }
};

struct Binarize {
  Normalise normalise = Normalise::minmax;
  double threshold = 0.5;
  static Params<Binarize> params() {
    return {opt("normalise", &Binarize::normalise, "the map before the threshold"),
            opt("threshold", &Binarize::threshold, range(0, 1), "pixels from here on belong to the mask")};
  }
};

using Grid = std::vector<std::vector<int>>;

struct AStar final : Method {
  std::vector<TokenWords> concept_tokens;
  std::optional<int> attention_res;
  std::vector<std::string> layers;
  double w_seg = 1, w_ret = 1, steps_fraction = 1;
  StepSize step_size;
  Binarize binarize;
  MaskSource mask_source = MaskSource::previous_step;
  std::vector<Grid> user_masks;

  static Params<AStar> params() {
    using M = AStar;
    return {need("concept_tokens", &M::concept_tokens,
                 "the subjects: words of the prompt, token positions, or groups of them"),
            opt("attention_res", &M::attention_res, range(1, 1024), map_grid_help),
            opt("layers", &M::layers, map_layers_help),
            opt("w_seg", &M::w_seg, range(0, 1000), "weight of keeping subjects apart"),
            opt("w_ret", &M::w_ret, range(0, 1000), "weight of keeping each where it was"),
            opt("steps_fraction", &M::steps_fraction, range(0, 1), "share of steps in which the latents are moved"),
            opt("step_size", &M::step_size, "the step along the gradient"),
            opt("binarize", &M::binarize, "how a map becomes the mask of the next step"),
            opt("mask_source", &M::mask_source, "masks from the step before, or given"),
            opt("user_masks", &M::user_masks, range(0, 1),
                "for mask_source user: rows of 0 and 1 on the maps' grid, one mask for each subject")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  using Masks = std::vector<Tensor>;  // of each concept, [Nq]
  std::vector<Tensor> concepts(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row) const;
  Tensor loss(const Captures& captures) const;
  Tensor binary(const Tensor& map) const;
  void remember(const Captures& captures);
  void read_user_masks(const TokenSegment& grid, const std::string& where);

  // Places in columns_ of one concept's words, for each encoder of text.
  using Concept = std::vector<std::vector<int64_t>>;

  std::vector<std::vector<int64_t>> columns_;
  std::vector<std::vector<Concept>> concepts_;      // of each member
  std::map<std::pair<int, int64_t>, Masks> masks_;  // of (member, picture), made in the step before
  Masks given_;
};

void AStar::read_user_masks(const TokenSegment& grid, const std::string& where) {
  if (mask_source != MaskSource::user) {
    if (!user_masks.empty())
      fail(ErrorCode::usage, where + " user_masks", "mask_source: user with masks", "masks alone");
    return;
  }
  if (user_masks.size() != concept_tokens.size())
    fail(ErrorCode::usage, where + " user_masks", "a mask for each concept", std::to_string(user_masks.size()));
  for (const Grid& mask : user_masks) {
    std::vector<float> values;
    for (const std::vector<int>& line : mask) {
      if (static_cast<int64_t>(line.size()) != grid.width || static_cast<int64_t>(mask.size()) != grid.height)
        fail(ErrorCode::usage, where + " user_masks",
             std::to_string(grid.height) + " rows of " + std::to_string(grid.width),
             std::to_string(mask.size()) + " with one of " + std::to_string(line.size()));
      values.insert(values.end(), line.begin(), line.end());
    }
    given_.push_back(Tensor::from(std::span<const float>(values), {grid.tokens()}));
  }
}

void AStar::declare(PlanBuilder& plan) {
  if (step_size.scale == 0 || (w_seg == 0 && w_ret == 0) || steps_fraction == 0) return;
  for (const Member& member : plan.run().members) {
    columns_.push_back(word_columns(member.words, text_range_of({}, plan.run(), plan.where())));
    concepts_.emplace_back();
    for (const TokenWords& tokens : concept_tokens) {
      Concept& one = concepts_.back().emplace_back();
      for (const auto& part : member.words.by_part(tokens.positions(member.words, plan.where())))
        one.push_back(places_in(columns_.back(), part, plan.where()));
    }
  }
  const std::vector<SiteScope> sites = map_sites(plan, {attention_res, layers});
  read_user_masks(image_grid(sites.front().tokens()), plan.where());
  const Steps steps = plan.steps(0, steps_fraction);
  for (const SiteScope& site : sites) {
    for (int m = 0; m < static_cast<int>(columns_.size()); ++m) {
      const auto member = static_cast<size_t>(m);
      const PromptTokens& prompt = plan.run().members[member].words;
      const Capture looks{.name = "a_star", .keys = columns_[member]};
      const SiteScope here = site.lane(Branch::cond).member(m).during(steps);
      capture_words(here.passes({Pass::guide}), looks, prompt);
      if (mask_source == MaskSource::previous_step && w_ret > 0)
        capture_words(here.passes({Pass::denoise}), looks, prompt);
    }
  }
  plan.hooks.guides.push_back(
      {.method = "a_star",
       .steps = steps,
       .loss = [this](const Captures& captures, const Moment&) { return loss(captures); },
       .length = [this, total = plan.run().steps](
                     int step) { return step_length(step_size.scale, step_size.range, step_size.rule, step, total); },
       .decide = {}});
  plan.hooks.after_evaluation.push_back(
      [this](const Captures& captures, const Moment& moment, const std::vector<Lane>&) {
        if (mask_source == MaskSource::previous_step && moment.begins_step) remember(captures);
      });
}

// The mean over a word's pieces; what two encoders say of a word adds up.
std::vector<Tensor> AStar::concepts(const std::vector<AttentionMap>& maps, const Lane& lane, int64_t row) const {
  const Tensor words = softmax(scale(mean_map(maps, lane, row), 100));  // [Nq,T]
  std::vector<Tensor> out;
  for (const Concept& one : concepts_[static_cast<size_t>(lane.member)]) {
    Tensor map;
    for (const std::vector<int64_t>& columns : one) {
      const Tensor part = mean(gather(words, 1, columns), {1});
      map = map.defined() ? add(map, part) : part;
    }
    out.push_back(map);
  }
  return out;
}

// Shared mass of two maps over their sum, in 0 .. 1/2.
Tensor overlap(const Tensor& a, const Tensor& b) {
  const Tensor smaller = scale(maximum(scale(a, -1), scale(b, -1)), -1);
  return divide(sum(smaller), sum(add(a, b)));
}

Tensor AStar::loss(const Captures& captures) const {
  const std::vector<AttentionMap>& maps = captures.at("a_star");
  Tensor total = Tensor::zeros({});
  for (const Lane& lane : lanes_of(maps)) {
    for (int64_t row = 0; row < lane.rows(); ++row) {
      const std::vector<Tensor> of = concepts(maps, lane, row);
      for (size_t m = 0; m < of.size(); ++m) {
        for (size_t n = 0; n < m; ++n) total = add(total, scale(overlap(of[m], of[n]), w_seg));
      }
      const auto kept = masks_.find({lane.member, lane.picture + row});
      const Masks& masks = kept != masks_.end() ? kept->second : given_;
      for (size_t m = 0; m < masks.size(); ++m)
        total = add(total, scale(add_constant(scale(overlap(of[m], masks[m]), -1), 1), w_ret));
    }
  }
  return total;
}

// The mask of the next step; a nearly empty one would reward shrinking everything else, so the top twentieth stands in.
Tensor AStar::binary(const Tensor& map) const {
  const std::vector<float> values = map.to_vector();
  const auto [low, high] = std::ranges::minmax(values);
  std::vector<float> mask(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const float v = binarize.normalise == Normalise::minmax ? (values[i] - low) / (high - low) : values[i];
    mask[i] = static_cast<double>(v) >= binarize.threshold ? 1.0f : 0.0f;
  }
  if (std::accumulate(mask.begin(), mask.end(), 0.0f) < 2) {
    std::vector<size_t> order(values.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return values[a] > values[b]; });
    std::ranges::fill(mask, 0.0f);
    const auto count = static_cast<size_t>(std::ceil(0.05 * static_cast<double>(values.size())));
    for (size_t i = 0; i < count; ++i) mask[order[i]] = 1;
  }
  return Tensor::from(std::span<const float>(mask), {static_cast<int64_t>(mask.size())});
}

void AStar::remember(const Captures& captures) {
  const std::vector<AttentionMap>& maps = captures.at("a_star");
  for (const Lane& lane : lanes_of(maps)) {
    for (int64_t row = 0; row < lane.rows(); ++row) {
      Masks& masks = masks_[{lane.member, lane.picture + row}];
      masks.clear();
      for (const Tensor& map : concepts(maps, lane, row)) masks.push_back(binary(map));
    }
  }
}

REGISTER_METHOD(a_star, AStar, "keeps named subjects apart and alive", "Agarwal et al. 2023, A-STAR, arXiv 2306.14544");

}  // namespace
}  // namespace heddle
