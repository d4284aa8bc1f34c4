// Attention Modulation: pixels at pixels sharper early on, every pixel sees the words of its most likely object only,
// and words weigh differently in the phases of a run. Wu et al. 2024, arXiv 2404.13899; no code was published, so the
// numbers are starting points. Verbs: temper, mask from a raw capture, bias or gain. No gradient; stays fused.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/word_groups.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class OtherPolicy : uint8_t { keep, hide };
enum class MapShare : uint8_t { layer_mean, own };
enum class ReweightAt : uint8_t { logits, probs };

}  // namespace
template <>
struct ParamWords<OtherPolicy> {
  static constexpr std::array words{"keep", "hide"};
};
template <>
struct ParamWords<GroupScore> {
  static constexpr std::array words{"noun_max", "sum"};
};
template <>
struct ParamWords<MapShare> {
  static constexpr std::array words{"layer_mean", "own"};
};
template <>
struct ParamWords<ReweightAt> {
  static constexpr std::array words{"logits", "probs"};
};
namespace {

struct SelfTemperature {
  double value = 0.7, until = 0.3;
  bool keep_text_mass = false;
  static Params<SelfTemperature> params() {
    return {opt("value", &SelfTemperature::value, range(0.01, 10), "below 1 sharpens"),
            opt("until", &SelfTemperature::until, range(0, 1), "share of the run in which it holds"),
            opt("keep_text_mass", &SelfTemperature::keep_text_mass,
                "in joint attention text keeps its share of a pixel's attention while pixels are sharpened")};
  }
};

struct ObjectMask {
  double from = 0, until = 1;
  GroupScore score = GroupScore::noun_max;
  MapShare share = MapShare::layer_mean;
  double min_margin = 0;
  static Params<ObjectMask> params() {
    using M = ObjectMask;
    return {
        opt("from", &M::from, range(0, 1), "share of the run where it begins"),
        opt("until", &M::until, range(0, 1), "and ends; equal to from: no mask"),
        opt("score", &M::score, "how a group is scored at a pixel: its best noun token, or all its tokens together"),
        opt("share", &M::share, "the map of all layers of a resolution a step before, or each layer's own"),
        opt("min_margin", &M::min_margin, range(0, 1),
            "pixels whose two best groups are closer than this see everything")};
  }
};

struct PhaseWeights {
  double until = 1, noun = 1, attribute = 1, other = 1;
  static Params<PhaseWeights> params() {
    using M = PhaseWeights;
    return {need("until", &M::until, range(0, 1), "share of the run where the phase ends"),
            opt("noun", &M::noun, range(0, 1000), "weight of nouns"),
            opt("attribute", &M::attribute, range(0, 1000), "weight of attributes"),
            opt("other", &M::other, range(0, 1000), "weight of all other tokens")};
  }
};

struct AttentionModulation final : Method {
  std::vector<WordGroup> groups;
  OtherPolicy other_policy = OtherPolicy::keep;
  SelfTemperature self_temperature;
  ObjectMask object_mask;
  std::vector<PhaseWeights> phase_weights{{0.3, 1.3, 1, 1}, {0.7, 1, 1.3, 1}, {1, 1, 1, 1}};
  ReweightAt reweight_at = ReweightAt::logits;

  static Params<AttentionModulation> params() {
    using M = AttentionModulation;
    return {opt("groups", &M::groups, "entities and their attributes; without it the noun phrases of the prompt"),
            opt("other_policy", &M::other_policy, "words of no group: seen as ever, or hidden"),
            opt("self_temperature", &M::self_temperature, "temperature of pixels at pixels early in the run"),
            opt("object_mask", &M::object_mask, "each pixel sees the words of its winning group"),
            opt("phase_weights", &M::phase_weights, "weights of kinds of words by phase of the run"),
            opt("reweight_at", &M::reweight_at, "before the softmax (rows still sum to 1), or after")};
  }

  void declare(PlanBuilder& plan) override;

 private:
  struct Sum {
    Tensor total;  // [R,Nq,T]
    int64_t heads = 0;
  };
  using Grid = std::tuple<int64_t, int64_t, int>;  // height, width, member

  void declare_mask(PlanBuilder& plan, const SiteScope& site, int member);
  void declare_weights(PlanBuilder& plan, const SiteScope& site, int member) const;
  std::vector<TermForm> mask_at(const TermPlace& place, size_t member) const;
  void remember(const Captures& captures);

  std::vector<MemberGroups> members_;
  std::map<Grid, Tensor> before_;  // mean raw map of the step before, [R,Nq,T]
};

void AttentionModulation::declare(PlanBuilder& plan) {
  for (const Member& member : plan.run().members)
    members_.push_back(MemberGroups::resolve(groups, member, plan.where()));
  for (const SiteScope& site : image_sites(plan)) {
    const std::string image = image_segment(site.tokens());
    site.during(plan.steps(0, self_temperature.until))
        .declare(Temper{.tau = self_temperature.value,
                        .query = image,
                        .key = image,
                        .keep_mass = self_temperature.keep_text_mass && !image.empty()});
  }
  for (const SiteScope& site : text_sites(plan)) {
    for (int m = 0; m < static_cast<int>(members_.size()); ++m) {
      const SiteScope here = site.lane(Branch::cond).member(m);
      declare_mask(plan, here, m);
      declare_weights(plan, here, m);
    }
  }
  plan.hooks.after_evaluation.push_back(
      [this](const Captures& captures, const Moment& moment, const std::vector<Lane>&) {
        if (moment.begins_step) remember(captures);
      });
}

void AttentionModulation::declare_mask(PlanBuilder& plan, const SiteScope& site, int member) {
  const MemberGroups& of = members_[static_cast<size_t>(member)];
  const Steps steps = plan.steps(object_mask.from, object_mask.until);
  if (other_policy == OtherPolicy::hide && !of.others.empty()) {
    std::vector<float> hidden(static_cast<size_t>(of.length));
    for (const int64_t token : of.others) hidden[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
    const Tensor column = Tensor::from(std::span<const float>(hidden), {1, of.length});
    site.declare(AddScore{{.text = "hide words of no group", .form = text_column(column, site.tokens())}});
  }
  if (of.count() < 2 || steps.empty()) return;
  // The map of the step before is wanted at the first masked step, too.
  const int read_from = object_mask.share == MapShare::layer_mean ? std::max(steps.begin - 1, 0) : steps.begin;
  capture_words(site.during({read_from, steps.end}), {.name = "attention_modulation", .keys = of.captured, .raw = true},
                plan.run().members[static_cast<size_t>(member)].words);
  site.during(steps).declare(AddScore{
      {.text = "mask words of other objects",
       .form = SegmentPair{},
       .at_run_time = [this, member](const TermPlace& place) { return mask_at(place, static_cast<size_t>(member)); }}});
}

void AttentionModulation::declare_weights(PlanBuilder& plan, const SiteScope& site, int member) const {
  const MemberGroups& of = members_[static_cast<size_t>(member)];
  double from = 0;
  for (const PhaseWeights& phase : phase_weights) {
    std::vector<float> weights(static_cast<size_t>(of.length), static_cast<float>(phase.other));
    for (size_t g = 0; g < of.count(); ++g) {
      for (const int64_t token : of.nouns[g]) weights[static_cast<size_t>(token)] = static_cast<float>(phase.noun);
      for (const int64_t token : of.attributes[g])
        weights[static_cast<size_t>(token)] = static_cast<float>(phase.attribute);
    }
    const SiteScope here = site.during(plan.steps(from, phase.until));
    from = phase.until;
    if (reweight_at == ReweightAt::probs) {
      const Tensor ones = Tensor::full({1, token_count(site.tokens().key)}, 1);
      const Tensor gains = Tensor::from(std::span<const float>(weights), {1, of.length});
      const int64_t text = image_text(site.tokens()).text_keys.begin;
      here.declare(Gain{"gain of words", with_slice(ones, 1, text, gains)});
      continue;
    }
    for (float& w : weights) w = std::log(w);
    const Tensor column = Tensor::from(std::span<const float>(weights), {1, of.length});
    here.declare(AddScore{{.text = "log weights of words", .form = text_column(column, site.tokens())}});
  }
}

std::vector<TermForm> AttentionModulation::mask_at(const TermPlace& place, size_t member) const {
  const MemberGroups& of = members_[member];
  const TokenSegment& grid = image_grid(place.tokens);
  Tensor map;
  if (object_mask.share == MapShare::layer_mean) {
    const auto found = before_.find({grid.height, grid.width, static_cast<int>(member)});
    if (found != before_.end())
      map = slice(found->second, 0, place.lane.picture, place.lane.picture + place.lane.rows());
  }
  for (const AttentionMap& own : place.captures.at("attention_modulation")) {
    if (!map.defined() && own.site.depth == place.site.depth && own.lane.member == place.lane.member)
      map = image_rows(own).detach();
  }
  const Tensor scores = group_scores(map, of, object_mask.score);
  return {group_mask(winning_groups(scores, object_mask.min_margin), map.dim(0), of, place.tokens)};
}

void AttentionModulation::remember(const Captures& captures) {
  std::map<Grid, Sum> sums;
  for (const AttentionMap& map : captures.at("attention_modulation")) {
    const TokenSegment& grid = image_grid(map.tokens);
    Sum& sum = sums[{grid.height, grid.width, map.lane.member}];
    const Tensor part = scale(image_rows(map), static_cast<double>(map.site.heads));
    sum.total = sum.total.defined() ? add(sum.total, part) : part;
    sum.heads += map.site.heads;
  }
  for (const auto& [grid, sum] : sums) before_[grid] = scale(sum.total, 1.0 / static_cast<double>(sum.heads));
}

REGISTER_METHOD(attention_modulation, AttentionModulation, "keeps attributes on their object, without gradients",
                "Wu et al. 2024, Attention Modulation, arXiv 2404.13899");

}  // namespace
}  // namespace heddle
