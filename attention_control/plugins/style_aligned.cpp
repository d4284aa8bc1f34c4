// StyleAligned: a set of pictures in one style, since every picture also attends to the first, at joint sites from
// image to image. Hertz et al. 2024, arXiv 2312.02133; statistics of the official code. Verbs: shape (AdaIN), extend;
// group norms shared. Stays fused.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "attention_control/plugins/adaptive_norm.h"
#include "attention_control/plugins/image_text.h"
#include "attention_control/plugins/registry.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

enum class ShareMode : uint8_t { reference, full };

}  // namespace
template <>
struct ParamWords<ShareMode> {
  static constexpr std::array words{"reference", "full"};
};
namespace {

struct Adain {
  bool q = true, k = true, v = false;
  static Params<Adain> params() {
    return {opt("q", &Adain::q, "queries get the reference's statistics"), opt("k", &Adain::k, "keys do"),
            opt("v", &Adain::v, "values do")};
  }
};
struct Share {
  double fraction = 1;
  Adain adain;
  bool group_norm = false;
  ShareMode mode = ShareMode::reference;
  KeyPlaces positions = KeyPlaces::own;
  static Params<Share> params() {
    return {
        opt("fraction", &Share::fraction, range(0, 1), "share of self- or joint attention layers, evenly spaced"),
        opt("adain", &Share::adain, "which projections take over the reference's mean and deviation"),
        opt("group_norm", &Share::group_norm,
            "mean and variance of all group norms over own and the first's maps, whatever else is shared; UNets only"),
        opt("mode", &Share::mode, "reference: all look at the first; full: all at all, without adain and gains"),
        opt("positions", &Share::positions,
            "of others' keys where they are rotary: own copies layout, too; beside stands to the right, centre has no "
            "place")};
  }
};
struct ReferenceGain {
  double shift = 0, scale = 1;
  static Params<ReferenceGain> params() {
    return {opt("shift", &ReferenceGain::shift, range(-10000, 10000),
                "added to the scores of the reference's keys; 0.69 doubles their odds"),
            opt("scale", &ReferenceGain::scale, range(0, 100), "the reference's keys times this")};
  }
};

struct StyleAligned final : Method {
  std::vector<std::string> pictures;
  Share share;
  ReferenceGain reference_gain;

  static Params<StyleAligned> params() {
    using M = StyleAligned;
    return {need("prompts", &M::pictures, "one for each picture; the first sets the style"),
            opt("share", &M::share, "what is shared, and where"),
            opt("reference_gain", &M::reference_gain, "how much the reference counts")};
  }

  std::optional<MethodPrompts> prompts() const override {
    MethodPrompts out;
    for (size_t i = 0; i < pictures.size(); ++i) out.members.emplace_back("image" + std::to_string(i), pictures[i]);
    return out;
  }
  void declare(PlanBuilder& plan) override;

 private:
  std::vector<SiteScope> sites(PlanBuilder& plan) const;
  Extend keys_of(const std::string& text, int member, const SiteTokens& tokens) const;
  void look_at_reference(const SiteScope& site) const;
};

// Layers round(j / fraction), j = 0, 1, ...; halves to even as Python has them.
std::vector<SiteScope> StyleAligned::sites(PlanBuilder& plan) const {
  std::vector<SiteScope> out;
  if (share.fraction == 0) return out;
  const std::vector<SiteScope> all = image_sites(plan);
  std::set<double> chosen;
  for (size_t j = 0; j < all.size(); ++j) chosen.insert(std::nearbyint(static_cast<double>(j) / share.fraction));
  for (size_t i = 0; i < all.size(); ++i) {
    if (chosen.contains(static_cast<double>(i))) out.push_back(all[i]);
  }
  return out;
}

// Keys and values of another picture, for image queries alone.
Extend StyleAligned::keys_of(const std::string& text, int member, const SiteTokens& tokens) const {
  Extend out{.text = text,
             .lane = {.branch = {}, .member = member},
             .segment = image_segment(tokens),
             .places = share.positions};
  constexpr float none = -std::numeric_limits<float>::infinity();
  if (!out.segment.empty()) out.terms.push_back({.text = "not for text", .form = SegmentPair{"text", "image", none}});
  return out;
}

// The first row stays as it is: twice the same keys and values change no softmax.
void StyleAligned::look_at_reference(const SiteScope& site) const {
  const LaneRef reference{.branch = {}, .member = 0};
  const TokenRange image = image_text(site.tokens()).image_keys;
  const auto align = [&](bool wanted, Role role) {
    if (!wanted) return;
    const auto aligned = [=](const Tensor& x, const LaneTensors& lanes) {
      const Tensor style = slice(lanes.plain(role, reference), 1, image.begin, image.end);
      return with_image(x, image, [&](const Tensor& own) { return adaptive_norm(own, style); });
    };
    site.declare(Shaping{
        .role = role, .function = {.text = "AdaIN to the reference", .apply = aligned}, .plain = role != Role::v});
  };
  align(share.adain.q, Role::q);
  align(share.adain.k, Role::k);
  align(share.adain.v, Role::v);
  Extend keys = keys_of("the reference's k, v", 0, site.tokens());
  keys.log_gain = reference_gain.shift;
  keys.key_scale = reference_gain.scale;
  site.declare(keys);
}

void StyleAligned::declare(PlanBuilder& plan) {
  const auto members = static_cast<int>(plan.run().members.size());
  for (int m = 1; share.group_norm && m < members; ++m) {
    plan.shared_norms.push_back(
        {.method = plan.method(), .where = plan.where() + " share.group_norm", .member = m, .with = 0});
  }
  const std::vector<SiteScope> chosen = sites(plan);
  check_places(plan, share.positions, chosen);
  for (const SiteScope& site : chosen) {
    for (int m = 0; m < members; ++m) {
      if (share.mode == ShareMode::reference) {
        if (m > 0) look_at_reference(site.member(m));
        continue;
      }
      for (int other = 0; other < members; ++other) {
        if (other != m) site.member(m).declare(keys_of("k, v of image" + std::to_string(other), other, site.tokens()));
      }
    }
  }
}

REGISTER_METHOD(style_aligned, StyleAligned, "several pictures in the style of the first",
                "Hertz et al. 2024, StyleAligned, arXiv 2312.02133");

}  // namespace
}  // namespace heddle
