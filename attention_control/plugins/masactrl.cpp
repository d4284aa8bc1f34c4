// MasaCtrl: the target keeps its own layout but draws with the source's keys and values, at joint sites those of the
// image. Cao et al. 2023, arXiv 2304.08465; conditions of the official code (steps >= S, layers >= L). Verbs: take,
// extend, branch, weigh, mask, capture. Stays fused.
#include <algorithm>
#include <cmath>

#include "attention_control/plugins/cross_maps.h"
#include "attention_control/plugins/grid_mask.h"
#include "attention_control/plugins/registry.h"
#include "attention_control/plugins/subject_split.h"
#include "attention_control/plugins/token_words.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class Variant : uint8_t { replace, unite, mask, mask_auto };

}  // namespace
template <>
struct ParamWords<Variant> {
  static constexpr std::array words{"replace", "union", "mask", "mask_auto"};
};
namespace {

constexpr const char* maps_name = "masactrl";
constexpr LaneRef source_lane{.branch = {}, .member = 0};

struct Source {
  std::string prompt;
  std::optional<int64_t> seed;
  static Params<Source> params() {
    return {need("prompt", &Source::prompt, "what the source shows"),
            opt("seed", &Source::seed, "of both pictures, which begin with the same noise: the preset's")};
  }
};
struct Masks {
  GridMask source, target;
  static Params<Masks> params() {
    return {need("source", &Masks::source, "white where the subject is in the source"),
            need("target", &Masks::target, "white where it shall be in the target")};
  }
};
struct Foreground {
  TokenWords source, target;
  static Params<Foreground> params() {
    return {need("source", &Foreground::source, "the subject's words in the source's prompt"),
            need("target", &Foreground::target, "its words in the target's prompt")};
  }
};

struct MasaCtrl final : Method {
  Source source;
  std::string target_prompt;
  double start_step = 4;
  std::optional<int> start_layer;
  std::vector<std::string> layers;
  Variant variant = Variant::replace;
  std::optional<Masks> masks;
  std::optional<Foreground> foreground_tokens;
  double mask_threshold = 0.1;
  std::optional<int> mask_res;
  KeyPlaces positions = KeyPlaces::own;

  static Params<MasaCtrl> params() {
    using M = MasaCtrl;
    return {
        need("source", &M::source, "the picture whose look is kept"),
        need("target_prompt", &M::target_prompt, "what the new picture shows"),
        opt("start_step", &M::start_step, range(0, 100000),
            "first step that looks at the source; below 1 a share of the run"),
        opt("start_layer", &M::start_layer, range(0, 100000),
            "first layer of self- or joint attention that does, in order of evaluation; if not given 10 of 16, or that "
            "share of them, of a transformer's 4 of 10"),
        opt("layers", &M::layers,
            "instead of start_layer: numbers of layers, site names, beginnings of them, or shares of depth"),
        opt("variant", &M::variant, "replace: source only; union: both; mask, mask_auto: subject and background apart"),
        opt("masks", &M::masks, "of variant mask"),
        opt("foreground_tokens", &M::foreground_tokens, "of variant mask_auto"),
        opt("mask_threshold", &M::mask_threshold, range(0, 1), "of variant mask_auto: share of the map's range"),
        opt("mask_res", &M::mask_res, range(1, 1024),
            "of variant mask_auto: side of the maps; nearest to 16 if not given"),
        opt("positions", &M::positions,
            "of the source's keys where they are rotary: own draws towards the source's layout, centre has no place, "
            "beside stands to the right")};
  }

  std::optional<MethodPrompts> prompts() const override {
    return MethodPrompts{
        .members = {{"source", source.prompt}, {"target", target_prompt}}, .shared_noise = true, .seed = source.seed};
  }
  void declare(PlanBuilder& plan) override;

 private:
  int first_step(const PlanBuilder& plan) const;
  std::vector<SiteScope> sites(PlanBuilder& plan) const;
  void capture(PlanBuilder& plan, int begin);
  std::vector<SubjectSplit> splits(const TermPlace& place) const;
  std::vector<float> from_maps(const TermPlace& place, int member, int64_t row) const;

  std::array<std::vector<int64_t>, 2> tokens_;  // of source and target
  std::optional<std::array<Grid, 2>> grids_;
};

int MasaCtrl::first_step(const PlanBuilder& plan) const {
  if (start_step < 1) return plan.steps(0, start_step).end;
  if (start_step != std::floor(start_step))
    fail(ErrorCode::usage, plan.where() + " start_step", "a whole number of steps, or a share below 1",
         number_text(start_step));
  return static_cast<int>(start_step);
}

std::vector<SiteScope> MasaCtrl::sites(PlanBuilder& plan) const {
  const std::vector<SiteScope> all = image_sites(plan);
  const auto count = static_cast<int>(all.size());
  if (layers.empty()) {
    const double share = is_joint(plan.run()) ? 0.4 : 10.0 / 16;
    const int first = start_layer.value_or(static_cast<int>(std::lround(count * share)));
    if (first >= count)
      fail(ErrorCode::usage, plan.where() + " start_layer", "a layer below " + std::to_string(count),
           std::to_string(first));
    return {all.begin() + first, all.end()};
  }
  std::vector<bool> chosen(all.size());
  std::vector<std::string> names;
  for (const std::string& layer : layers) {
    if (!std::ranges::all_of(layer, [](unsigned char c) { return std::isdigit(c) != 0; })) {
      names.push_back(layer);
      continue;
    }
    if (layer.size() > 6 || std::stoi(layer) >= count)
      fail(ErrorCode::usage, plan.where() + " layers", "layers below " + std::to_string(count), layer);
    chosen[static_cast<size_t>(std::stoi(layer))] = true;
  }
  if (!names.empty()) {
    for (const SiteScope& site : image_sites(plan, names)) {
      for (size_t i = 0; i < all.size(); ++i) {
        if (all[i].site().depth == site.site().depth) chosen[i] = true;
      }
    }
  }
  std::vector<SiteScope> out;
  for (size_t i = 0; i < all.size(); ++i) {
    if (chosen[i]) out.push_back(all[i]);
  }
  return out;
}

void MasaCtrl::capture(PlanBuilder& plan, int begin) {
  const std::array<const TokenWords*, 2> words{&foreground_tokens->source, &foreground_tokens->target};
  const std::vector<SiteScope> sites = map_sites_near(plan, {mask_res, {}}, 16);
  for (int member = 0; member < 2; ++member) {
    auto& keys = tokens_[static_cast<size_t>(member)];
    keys = words[static_cast<size_t>(member)]->positions(plan.run().members[static_cast<size_t>(member)].words,
                                                         plan.where() + " foreground_tokens");
    for (const SiteScope& site : sites)
      capture_words(site.lane(Branch::cond).member(member).during({begin}), {.name = maps_name, .keys = keys},
                    plan.run().members[static_cast<size_t>(member)].words);
  }
}

// Sum over the words, mean over the sites that have run, stretched to 0..1. Empty where none has.
std::vector<float> MasaCtrl::from_maps(const TermPlace& place, int member, int64_t row) const {
  Grid sum;
  for (const AttentionMap& map : place.captures.at(maps_name)) {
    // A joint site is read and edited at once; its own maps of lanes that have run do not count yet.
    const bool earlier = map.site.depth < place.site.depth;
    if (!earlier || map.lane.member != member || row >= map.values.dim(0)) continue;
    const TokenSegment& grid = image_grid(map.tokens);
    sum.height = grid.height, sum.width = grid.width;
    sum.values.resize(static_cast<size_t>(grid.tokens()), 0);
    const std::vector<float> values = contiguous(slice(image_rows(map), 0, row, row + 1)).to_vector();
    for (size_t i = 0; i < values.size(); ++i) sum.values[i / map.keys.size()] += values[i];
  }
  if (sum.values.empty()) return {};
  const auto [low, high] = std::ranges::minmax(sum.values);
  const TokenSegment& here = image_grid(place.tokens);
  Grid fitted = resize_nearest(sum, here.height, here.width);
  for (float& v : fitted.values) v = (v - low) / (high - low) >= static_cast<float>(mask_threshold) ? 1.0f : 0.0f;
  return fitted.values;
}

// One for each row of the lane.
std::vector<SubjectSplit> MasaCtrl::splits(const TermPlace& place) const {
  std::vector<SubjectSplit> out;
  const TokenSegment& here = image_grid(place.tokens);
  for (int64_t row = 0; row < place.lane.rows(); ++row) {
    if (grids_) {
      out.push_back({resize_nearest((*grids_)[0], here.height, here.width).values,
                     resize_nearest((*grids_)[1], here.height, here.width).values});
    } else {
      out.push_back({from_maps(place, 0, row), from_maps(place, 1, row)});
    }
  }
  return out;
}

void MasaCtrl::declare(PlanBuilder& plan) {
  if ((variant == Variant::mask) != masks.has_value())
    fail(ErrorCode::usage, plan.where() + " masks", "masks with variant mask, and only there",
         masks ? "masks" : "none");
  if ((variant == Variant::mask_auto) != foreground_tokens.has_value()) {
    fail(ErrorCode::usage, plan.where() + " foreground_tokens",
         "foreground_tokens with variant mask_auto, and only there", foreground_tokens ? "foreground_tokens" : "none");
  }
  const int begin = first_step(plan);
  const std::vector<SiteScope> chosen = sites(plan);
  check_places(plan, positions, chosen);
  if (begin >= plan.run().steps) return;
  if (masks) grids_ = {masks->source.read(), masks->target.read()};
  if (variant == Variant::mask_auto) capture(plan, begin);
  for (const SiteScope& any : chosen) {
    const SiteScope site = any.member(1).during({begin});
    const std::string image = image_segment(site.tokens());
    const Take keys{.role = Role::k, .lane = source_lane, .segment = image, .places = positions};
    if (variant == Variant::unite) {
      site.declare(Extend{.text = "the source's k, v", .lane = source_lane, .segment = image, .places = positions});
    } else if (masks || foreground_tokens) {
      attend_apart(site, keys, [this](const TermPlace& place) { return splits(place); });
    } else {
      site.declare(keys).declare(Take{.role = Role::v, .lane = source_lane, .segment = image});
    }
  }
}

REGISTER_METHOD(masactrl, MasaCtrl, "changes pose or layout and keeps the look of a source picture",
                "Cao et al. 2023, MasaCtrl, arXiv 2304.08465");

}  // namespace
}  // namespace heddle
